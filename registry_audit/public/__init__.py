"""Provides what `import registry_audit as ra` offers: the commands as functions, and their results."""
