"""Implements `registry-audit pull`, which leaves the verified bytes or nothing."""

from pathlib import Path
from typing import Any

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import (
    LIMITS,
    SERVER,
    SectionedCommand,
    audit_options,
    ledger_url,
    required_tracking_uri,
    with_options,
)
from registry_audit.cli.progress import ByteProgress
from registry_audit.printable import printable
from registry_audit.refs import parse_selector, split_version


@click.command("pull", cls=SectionedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("version", metavar="NAME/V | NAME@ALIAS")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the files go: a new or an empty directory.",
)
@with_options(*SERVER, "ledger", "registry_name", *LIMITS, "quiet")
def command(
    version: str, output: Path, tracking_uri: str | None, ledger: str | None, quiet: bool, **chosen: Any
) -> int:
    """Download a registry model, and keep it only if every byte is what was accepted.

    The files are first downloaded into a hidden directory next to DIR. If all of them are as accepted, one rename puts
    them in place. Otherwise nothing is left. Nothing in the model is executed.

    Exit status: 0 DIR holds what was accepted, 1 it differs, 2 usage, 3 no baseline or not all could be read, 4 the
    ledger is unusable. DIR is there only with 0.
    """
    name, selector = split_version(version)
    parse_selector(selector)
    options = audit_options(
        {"tracking_uri": required_tracking_uri(tracking_uri), "ledger": ledger_url(ledger), **chosen}
    )

    import_library(options.tracking_uri, options.registry_uri)
    from registry_audit.api import pull_model
    from registry_audit.pulling.verified_download import NotAsAccepted
    from registry_audit.report.lines import baseline_line
    from registry_audit.report.words import count, moment_words

    try:
        with ByteProgress(quiet=quiet) as progress:
            pulled = pull_model(options, name, selector, output, on_begin=progress.begins, on_bytes=progress.bytes)
    except NotAsAccepted as error:
        for difference in error.differences:
            click.echo(baseline_line(difference))
        click.echo(f"nothing was left in {output}", err=True)
        raise
    for difference in pulled.expected:
        click.echo(baseline_line(difference))
    label, who = printable(f"{pulled.name}/{pulled.version}"), printable(pulled.accepted_by)
    click.echo(
        f"{label}: {count(pulled.file_count, 'file')}, {count(pulled.byte_count, 'byte')}, byte for byte what {who} "
        f"accepted on {moment_words(pulled.accepted_at)} ({printable(pulled.reason)})"
    )
    click.echo(f"wrote {output}", err=True)
    return 0
