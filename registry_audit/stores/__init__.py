"""Reads the bytes of models: from local directories, artifact proxies, buckets, or any MLflow artifact repository."""
