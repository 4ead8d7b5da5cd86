"""What a person sees on stderr while two registries are read: a line now and then."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from registry_audit.migration.facts import VersionFacts
    from registry_audit.migration.registries_config import SideName
    from registry_audit.migration.registry_reading import Listed

_LINE_EVERY_SECONDS = 10.0


class MigrationProgress:
    """Listeners for `compare_registries`; safe to call from any thread."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._done: dict[str, int] = {"source": 0, "target": 0}
        self._last_line = time.monotonic()

    def __enter__(self) -> "MigrationProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def listed(self, source: "Listed", target: "Listed") -> None:
        if not self._quiet:
            click.echo(f"{len(source.versions)} versions in the source, {len(target.versions)} in the target", err=True)

    def done(self, side: "SideName", facts: "VersionFacts") -> None:
        with self._lock:
            self._done[side] += 1
            if not self._quiet and time.monotonic() - self._last_line > _LINE_EVERY_SECONDS:
                self._last_line = time.monotonic()
                click.echo(
                    f"read: {self._done['source']} of the source, {self._done['target']} of the target", err=True
                )
