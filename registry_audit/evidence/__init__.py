"""Makes and checks evidence packs: one file with an audit's findings, which anybody can check without this software."""
