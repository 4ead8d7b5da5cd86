"""Builds a small, real MLflow registry with known damage, to try the audit on."""
