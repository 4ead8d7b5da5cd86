"""Measures the cost of MLflow's client: the answers that an audit needs, requested as cheaply as the client allows.

    python -m benchmarks.registry_client TRACKING_URI

It reads every registered model and every version in pages, every run in searches of a hundred, and over HTTP each
version's download URI, for which there is no request for many at once. From a database, an audit reads those in one
query.
"""

import sys
from collections.abc import Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType


def main(tracking_uri: str) -> int:
    client = MlflowClient(tracking_uri, tracking_uri)
    models = list(_pages(client.search_registered_models, max_results=1_000))
    order = ["name ASC", "version_number ASC"]
    versions = list(_pages(client.search_model_versions, max_results=1_000, order_by=order))
    experiments = [one.experiment_id for one in _pages(client.search_experiments, view_type=ViewType.ALL)]
    wanted = sorted({version.run_id for version in versions})
    runs = 0
    for start in range(0, len(wanted), 100):
        quoted = ",".join(f"'{run_id}'" for run_id in wanted[start : start + 100])
        runs += len(client.search_runs(experiments, f"attributes.run_id IN ({quoted})", ViewType.ALL, max_results=100))
    if tracking_uri.startswith("http"):
        store = client._get_registry_client().store
        for version in versions:
            store.get_model_version_download_uri(version.name, version.version)
    print(f"{len(versions)} versions of {len(models)} models, {runs} runs")
    return 0


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
