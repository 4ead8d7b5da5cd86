"""Make the SQLite database of the MLflow that is installed, as an SQL dump on stdout: see README.md."""

import sqlite3
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = Path(directory, "mlflow.db")
        client = MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")
        # The artifacts are not part of the dump: the tests put a model where `source` says.
        experiment = client.create_experiment("models", artifact_location="/nowhere/models")
        run = client.create_run(experiment, run_name="first").info.run_id
        client.log_param(run, "alpha", "0.5")
        client.set_terminated(run)
        client.create_registered_model("wine")
        client.create_model_version("wine", f"/nowhere/models/{run}/artifacts/model", run)
        client.set_registered_model_alias("wine", "champion", "1")
        connection = sqlite3.connect(database)
        sys.stdout.write(f"-- MLflow {mlflow.__version__}\n")
        sys.stdout.writelines(f"{line}\n" for line in connection.iterdump())
        connection.close()


if __name__ == "__main__":
    main()
