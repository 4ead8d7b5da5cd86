"""What was typed, as the options of an audit."""

from typing import TYPE_CHECKING, Any

from registry_audit.errors import UsageError

if TYPE_CHECKING:
    from registry_audit.audit.options import AuditOptions


def audit_options(chosen: dict[str, Any]) -> "AuditOptions":
    """Raises: UsageError: an option is none, or contradicts another; the message names it."""
    from pydantic import ValidationError

    from registry_audit.audit.options import AuditOptions

    try:
        return AuditOptions(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = "".join(f"--{str(part).replace('_', '-')}: " for part in first["loc"][:1])
        raise UsageError(option + str(first["msg"]).removeprefix("Value error, ")) from None
