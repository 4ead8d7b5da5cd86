"""The report on a migration: `migration.json`, and what is rendered from it."""
