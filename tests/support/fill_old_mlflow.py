"""Fill a registry through the client of the MLflow that runs this, back to 1.30; print what was made.

    python fill_old_mlflow.py fill | damage

`MLFLOW_TRACKING_URI` says where. The registry is the same one for every release, less what a release does not have.
The last line is JSON: for each registered model the place of its bytes.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel
from mlflow.tracking import MlflowClient

VERSION = tuple(int(part) for part in mlflow.__version__.split(".")[:2])


class Doubles(PythonModel):
    def predict(self, context, model_input, params=None):
        return [2 * value for value in model_input]


def logged(seed, **more):
    """A run with the model `model`, as this release logs one."""
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory, "weights.txt")
        weights.write_text("".join(f"{seed * number}\n" for number in range(500)))
        with mlflow.start_run() as run:
            mlflow.pyfunc.log_model(
                "model",
                python_model=Doubles(),
                artifacts={"weights": str(weights)},
                pip_requirements=[f"mlflow=={mlflow.__version__}"],
                **more,
            )
    return run.info.run_id


def plain(client, seed):
    """A run with a model in its own directory, whatever this release makes of `log_model`."""
    run = client.create_run("0").info
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "data").mkdir()
        Path(directory, "data", "weights.txt").write_text(f"{seed}\n" * 300)
        Path(directory, "MLmodel").write_text(
            "artifact_path: model\nflavors:\n  python_function:\n    data: data\n    loader_module: acme.loader\n"
            f"run_id: {run.run_id}\nutc_time_created: '2024-01-02 03:04:05.678901'\n"
        )
        client.log_artifacts(run.run_id, directory, "model")
    client.set_terminated(run.run_id)
    return run


def registered(client, name, source, run_id):
    client.create_registered_model(name)
    return client.create_model_version(name, source, run_id)


def fill(client):
    for seed in (1, 2):
        logged(seed, registered_model_name="Staged")
    client.transition_model_version_stage("Staged", "1", "Production")
    client.transition_model_version_stage("Staged", "2", "Staging")

    run = plain(client, 3)
    registered(client, "By-Run", f"runs:/{run.run_id}/model", run.run_id)
    run = plain(client, 4)
    registered(client, "By-Place", run.artifact_uri + "/model", run.run_id)

    made = {}
    for seed, name in ((5, "Run-Deleted"), (6, "Overwritten"), (7, "Lost")):
        run = plain(client, seed)
        registered(client, name, run.artifact_uri + "/model", run.run_id)
        made[name] = [run.run_id, run.artifact_uri]
    client.delete_run(made["Run-Deleted"][0])
    client.create_registered_model("No-Versions", description="none yet")

    if VERSION >= (2, 3):
        client.set_registered_model_alias("Staged", "champion", "1")
    if VERSION >= (2, 8):
        client.copy_model_version("models:/By-Run/1", "Copied")
    if VERSION >= (2, 22):
        mlflow.register_prompt("Greeting", "Hello {{ name }}") if VERSION < (3, 0) else mlflow.genai.register_prompt(
            "Greeting", "Hello {{ name }}"
        )
    return made


def damage(client):
    """Overwrite one through MLflow's own API. Nobody is told, and no time moves."""
    (version,) = client.search_model_versions("name='Overwritten'")
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory, "weights.txt")
        weights.write_text("9\n" * 300)
        client.log_artifact(version.run_id, str(weights), "model/data")
    return {}


if __name__ == "__main__":
    result = {"fill": fill, "damage": damage}[sys.argv[1]](MlflowClient())
    print(json.dumps(result))  # noqa: T201
