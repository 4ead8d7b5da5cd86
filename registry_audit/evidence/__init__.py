"""Evidence packs: what an audit found, in one file that a stranger can check without this software."""
