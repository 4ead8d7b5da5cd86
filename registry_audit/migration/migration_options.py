"""What a comparison of two registries is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry_audit.audit.options import DEFAULT_WORKERS, AuditOptions, checked_options
from registry_audit.migration.facts import RULE_VERSIONS
from registry_audit.migration.names import NameMap
from registry_audit.registry.connection import Server
from registry_audit.verdict import Severity


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    models: tuple[str, ...] = ()  # glob patterns on the source's names, case-sensitive; none means all
    names: NameMap = field(default_factory=NameMap)
    one_way: bool = False  # ask only whether all of the source is in the target
    in_place: bool = False  # files were to stay where they are: one storage behind both is then no gap
    fail_on: Severity = Severity.MEDIUM
    workers: int = DEFAULT_WORKERS  # versions at once, of each registry
    limits: Mapping[str, int | None] = field(default_factory=dict)  # fields of `AuditOptions` that begin with `max_`
    quick: bool = False  # trust what an unchanged fingerprint says of bytes that audits of either registry have read
    full_every: int | None = None  # days after which `quick` reads in full all the same
    ledger: str | None = field(default=None, repr=False)  # of those audits; only read, and only with `quick`

    def of(self, server: Server) -> AuditOptions:
        """How one of the two registries is read.

        Raises:
            UsageError: a limit is unknown or no positive number, or `quick` has no ledger.
        """
        limits: dict[str, Any] = {name: bound for name, bound in self.limits.items() if bound is not None}
        uris = {"tracking_uri": server.tracking_uri, "registry_uri": server.registry_uri}
        trust = {"quick": self.quick, "full_every": self.full_every, "ledger": self.ledger if self.quick else None}
        return checked_options(**uris, **trust, **limits)

    def reported(self) -> dict[str, object]:
        """What a report states: all that changes what it says."""
        return {
            "models": list(self.models),
            "map": self.names.reported(),
            "one_way": self.one_way,
            "in_place": self.in_place,
            "quick": self.quick,
            "full_every": self.full_every,
            "fail_on": self.fail_on.value,
            "digest": "sha256",
            "rules": dict(sorted(RULE_VERSIONS.items())),
        }
