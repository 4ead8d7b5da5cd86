"""Audits MLflow model registries: are the run model and the registry model the same bytes, and still there?

    import registry_audit as ra

    ra.check("Wine@champion")                       # one version
    ra.audit(models="Wine*", accept_new=True)       # every version of these models
    ra.compare("Wine/3", "Wine/4")                  # two versions
    ra.compare_registries(old, new)                 # a migration
    ra.pull("Wine@champion", "model")               # the accepted bytes, or an error

The library holds every decision and knows nothing of Prefect. Data flows one way:

    registry  ->  stores  ->  model  ->  audit  ->  report  ->  cli
    (which)       (bytes)     (manifest) (verdict)  (files)     (people)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_audit.errors import AuditError, CouldNotVerify, LedgerError, NotFound, UsageError
    from registry_audit.public.calls import audit, check, compare, compare_registries, pull
    from registry_audit.public.migrated import MigrationResult
    from registry_audit.public.results import AuditResult, CheckResult, CompareResult
    from registry_audit.pulling.verified_download import NotAsAccepted, Pulled

__version__ = "0.1.0"

__all__ = [
    "AuditError",
    "AuditResult",
    "CheckResult",
    "CompareResult",
    "CouldNotVerify",
    "LedgerError",
    "MigrationResult",
    "NotAsAccepted",
    "NotFound",
    "Pulled",
    "UsageError",
    "audit",
    "check",
    "compare",
    "compare_registries",
    "pull",
]

# Imported when they are first used: importing the package does not wait for MLflow.
_WHERE = {
    "registry_audit.errors": ("AuditError", "CouldNotVerify", "LedgerError", "NotFound", "UsageError"),
    "registry_audit.public.calls": ("check", "compare", "compare_registries", "pull"),
    "registry_audit.public.migrated": ("MigrationResult",),
    "registry_audit.public.results": ("AuditResult", "CheckResult", "CompareResult"),
    "registry_audit.pulling.verified_download": ("NotAsAccepted", "Pulled"),
    # Not a function of `calls`: see registry_audit/audit/__init__.py.
    "registry_audit": ("audit",),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'registry_audit' has no attribute '{name}'")
    if module == __name__:
        return import_module(f"registry_audit.{name}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
