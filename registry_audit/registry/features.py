"""Features that only some MLflow releases have. Each is detected by trying it, never by a version number."""

import os
from typing import Any

from registry_audit.errors import UsageError


def asks_unity_catalog_natively() -> bool:
    """Whether the environment asks for Unity Catalog's own protocol. MLflow before 3.11 knows only its other one."""
    if (name := "MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY") not in os.environ:
        return False
    from mlflow import environment_variables

    variable = getattr(environment_variables, name, None)
    return variable is not None and bool(variable.get())


def webhook_types() -> Any:
    """MLflow's description of what its webhooks send.

    Raises:
        UsageError: this MLflow has no webhooks.
    """
    try:
        from mlflow.webhooks import types
    except ImportError as error:
        from mlflow.version import VERSION

        raise UsageError(f"MLflow {VERSION} here knows no webhooks: pip install 'mlflow>=3.3'") from error
    return types


def expected_bucket_owner() -> str | None:
    """The account that a bucket must belong to, where this MLflow looks at it at all: 3.5 and older do not."""
    if (name := "MLFLOW_S3_EXPECTED_BUCKET_OWNER") not in os.environ:
        return None
    from mlflow import environment_variables

    variable = getattr(environment_variables, name, None)
    return None if variable is None else variable.get()
