"""The wait before the work, made short."""

import gc
import importlib

from registry_audit.registry.connection import calm_mlflow


def import_library() -> None:
    """Import MLflow and all of this library that needs it.

    The collector would walk the hundreds of thousands of objects that these imports make again and again, during
    them and during the audit; none of them is ever garbage.
    """
    calm_mlflow()  # MLflow reads its settings while it is imported
    gc.disable()
    importlib.import_module("mlflow")
    importlib.import_module("registry_audit.api")
    gc.freeze()
    gc.enable()
