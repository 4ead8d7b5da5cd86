"""Reads MLflow registries: connections, listings of versions, and the storage of each version. Nothing is written."""
