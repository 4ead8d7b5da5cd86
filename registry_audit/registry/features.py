"""What only some of the MLflow releases beside us have: each is asked for by what it does, never by a version."""

import os
from typing import Any

from registry_audit.errors import UsageError
from registry_audit.registry.mlflow_environment import importing_mlflow


def asks_unity_catalog_natively() -> bool:
    """Whether the environment asks for Unity Catalog's own protocol. MLflow before 3.11 knows only its other one."""
    if (name := "MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY") not in os.environ:
        return False
    with importing_mlflow():
        from mlflow import environment_variables

    variable = getattr(environment_variables, name, None)
    return variable is not None and bool(variable.get())


def webhook_types() -> Any:
    """MLflow's description of what its webhooks send.

    Raises:
        UsageError: this MLflow has no webhooks.
    """
    try:
        with importing_mlflow():
            from mlflow.webhooks import types
    except ImportError as error:
        with importing_mlflow():
            from mlflow.version import VERSION

        raise UsageError(f"MLflow {VERSION} here knows no webhooks: pip install 'mlflow>=3.3'") from error
    return types


def expected_bucket_owner() -> str | None:
    """The account that a bucket must belong to, where this MLflow looks at it at all: 3.5 and older do not."""
    if (name := "MLFLOW_S3_EXPECTED_BUCKET_OWNER") not in os.environ:
        return None
    with importing_mlflow():
        from mlflow import environment_variables

    variable = getattr(environment_variables, name, None)
    return None if variable is None else variable.get()
