"""The wait before the work, made short."""

import gc
import importlib

from registry_audit.registry.connection import calm_mlflow

_COLLECTED_EVERY_OBJECTS = 10_000


def import_library() -> None:
    """Import MLflow and all of this library that needs it.

    The collector would walk the hundreds of thousands of objects that these imports make again and again, during
    them and during the audit; none of them is ever garbage. What an audit makes has next to no cycles, so looking for
    them may wait for more of it. For programs of which the audit is the whole purpose.
    """
    calm_mlflow()  # MLflow reads its settings while it is imported
    gc.disable()
    importlib.import_module("mlflow")
    importlib.import_module("registry_audit.api")
    gc.freeze()
    gc.set_threshold(_COLLECTED_EVERY_OBJECTS)
    gc.enable()
