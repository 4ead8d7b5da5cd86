"""Where the batches of an audit are worked on: threads of this process, a Dask cluster, or child runs of their own."""
