"""Audits MLflow model registries: are the run model and the registry model the same bytes, and still there?

The library holds every decision and knows nothing of Prefect. Data flows one way:

    registry  ->  stores  ->  model  ->  audit  ->  report  ->  cli
    (which)       (bytes)     (manifest) (verdict)  (files)     (people)
"""

__version__ = "0.1.0"
