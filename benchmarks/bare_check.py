"""Measures the minimum of a check of one version: import MLflow, and ask its client about that version.

python -m benchmarks.bare_check TRACKING_URI NAME VERSION
"""

import sys

import mlflow


def main(tracking_uri: str, name: str, number: str) -> int:
    client = mlflow.MlflowClient(tracking_uri, tracking_uri)
    version = client.get_model_version(name, number)
    location = client.get_model_version_download_uri(name, number)
    run = client.get_run(version.run_id or "")
    print(f"{version.name}/{version.version} of run {run.info.run_id} in {location}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
