"""Shows progress on stderr: a bar on a terminal, otherwise a line from time to time."""

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from registry_audit.registry.address import shown_address

if TYPE_CHECKING:
    from registry_audit.audit.judging import VersionAudit
    from registry_audit.audit.scope import Scope
    from registry_audit.migration.facts import VersionFacts
    from registry_audit.migration.registries_config import SideName
    from registry_audit.migration.registry_reading import Listed


_LINE_EVERY_SECONDS = 10.0


class _Shown:
    """Shows progress until its `with` block ends."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._lock = threading.Lock()
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _is_time_for_a_line(self) -> bool:
        """Say whether nothing was printed for a while. Call it with the lock held."""
        if self._quiet or time.monotonic() - self._last_line <= _LINE_EVERY_SECONDS:
            return False
        self._last_line = time.monotonic()
        return True


class Progress(_Shown):
    """Listens to `audit_registry`. It is safe to call from any thread."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._total = self._done = self._bytes = 0

    def listed(self, scope: "Scope") -> None:
        self._total = len(scope.versions)
        self._last_line = time.monotonic()
        if self._quiet:
            return
        for note in scope.notes:
            click.echo(note, err=True)
        if sys.stderr.isatty():
            self._start_bar()
        else:
            uri = shown_address(scope.tracking_uri)
            click.echo(f"{self._total} of {scope.listed_count} versions to audit in {uri}", err=True)

    def done(self, audit: "VersionAudit") -> None:
        with self._lock:
            self._done += 1
            if self._bar is not None:
                self._draw()
            elif self._is_time_for_a_line():
                click.echo(f"{self._done} of {self._total} versions, {self._bytes / 1e6:,.0f} MB read", err=True)

    def bytes(self, count: int) -> None:
        self._bytes += count  # a lost update only makes the shown number less exact
        if self._bar is not None:
            self._draw()

    def _draw(self) -> None:
        """Draw the bar.

        The total number of bytes is only known at the end, so it is estimated from the finished versions.
        """
        expected = expected_bytes(self._bytes, self._done, self._total)
        versions = f"{self._done:,} of {self._total:,} versions"
        self._bar.update(self._task, completed=self._bytes, total=expected, versions=versions)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.fields[versions]}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("auditing", total=None, versions=f"0 of {self._total:,} versions")
        self._bar.start()


def expected_bytes(read: int, done: int, total: int) -> int | None:
    """Estimate how many bytes an audit will read, from the finished versions; None if there is none yet."""
    if done >= total:
        return read
    return round(read * total / done) if done and read else None


class ByteProgress(_Shown):
    """Shows a bar for a known number of bytes, on a terminal only. It is safe to call from any thread."""

    def begins(self, total: int) -> None:
        if self._quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def bytes(self, count: int) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, count)


class MigrationProgress(_Shown):
    """Listens to `compare_registries`. It prints lines, without a bar. It is safe to call from any thread."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._done: dict[str, int] = {"source": 0, "target": 0}

    def listed(self, source: "Listed", target: "Listed") -> None:
        if not self._quiet:
            click.echo(f"{len(source.versions)} versions in the source, {len(target.versions)} in the target", err=True)

    def done(self, side: "SideName", facts: "VersionFacts") -> None:
        with self._lock:
            self._done[side] += 1
            if self._is_time_for_a_line():
                click.echo(
                    f"read: {self._done['source']} of the source, {self._done['target']} of the target", err=True
                )
