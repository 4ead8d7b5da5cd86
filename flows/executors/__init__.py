"""Runs the batches of an audit in threads of this process, on a Dask cluster, or in child runs."""
