"""Reproducible measurements of the audit beside its peers: `python -m benchmarks.run`."""
