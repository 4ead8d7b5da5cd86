"""Audits versions: reads their copies, compares them, and judges them by the rules.

`registry_audit.audit(...)` is a function, too: see `registry_audit.public.calls.audit`.
"""

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Makes a package callable: package and function have the same name, and so one attribute of `registry_audit`.

    https://docs.python.org/3/reference/datamodel.html#customizing-module-attribute-access
    """

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return _function()(*arguments, **named)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        """Return the text that `help` and a notebook's `ra.audit?` show."""
        return inspect.getdoc(_function())

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function())


def _function() -> Any:
    # Imported by name, so that this room does not depend on a room above it.
    return import_module("registry_audit.public.calls").audit


sys.modules[__name__].__class__ = _CallablePackage
