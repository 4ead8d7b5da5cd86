"""Measures the audit and its peers reproducibly: `python -m benchmarks.run`."""
