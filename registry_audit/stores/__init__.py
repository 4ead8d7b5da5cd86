"""Where bytes come from: a local directory, a tracking server's artifact proxy, a bucket, any MLflow repository."""
