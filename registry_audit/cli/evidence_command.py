"""Implements `registry-audit evidence`, which makes and checks evidence packs."""

from contextlib import closing
from pathlib import Path

import click

from registry_audit.cli.boundary import Group
from registry_audit.cli.common_options import ledger_url, with_options
from registry_audit.errors import UsageError
from registry_audit.printable import printable

_HELP = {"help_option_names": ["-h", "--help"]}


class _PackByDefault(Group):
    """Runs `evidence pack` for `evidence AUDIT.json`; `evidence verify PACK.zip` is unchanged."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["pack", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["pack", *args]
        return super().parse_args(ctx, args)


@click.group("evidence", cls=_PackByDefault, context_settings=_HELP)
def command() -> None:
    """Make one file of evidence from an audit, or check such a file. Checking is possible without this software, too.

    `evidence AUDIT.json -o PACK.zip` is short for `evidence pack`.
    """


@command.command("pack", context_settings=_HELP)
@click.argument("audit_json", metavar="AUDIT.json", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="PACK.zip", type=click.Path(path_type=Path), help="The pack.")
@click.option("--timestamp-url", metavar="URL", help="RFC 3161 authority that time-stamps the pack's statement.")
@click.option(
    "--sign-with",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Sign the pack's statement with this private key in PEM, in a DSSE envelope.",
)
@with_options("ledger")
def pack(audit_json: Path, output: Path, timestamp_url: str | None, sign_with: Path | None, ledger: str | None) -> int:
    """Pack the report, the list of files of every version, and the ledger's entries up to the audit."""
    from registry_audit.evidence.pack import make_pack
    from registry_audit.evidence.signature import StatementSigner
    from registry_audit.ledger.connecting import open_ledger

    url = ledger_url(ledger)
    if url is None:
        raise UsageError("an evidence pack needs the ledger of the audit: --ledger URL")
    signer = StatementSigner(sign_with) if sign_with is not None else None
    with closing(open_ledger(url, create=False)) as opened:
        document = make_pack(audit_json, opened, output, timestamp_url=timestamp_url, signer=signer)
    versions = f"{len(document.versions)} version{'' if len(document.versions) == 1 else 's'}"
    registry = printable(document.registry.registry_uri)
    click.echo(f"wrote {printable(str(output))}: evidence for {versions} of {registry}", err=True)
    return 0


@command.command("verify", context_settings=_HELP)
@click.argument("pack_zip", metavar="PACK.zip", type=click.Path(path_type=Path))
@click.option(
    "--tsa-certificates",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PEM certificates of the time-stamp authority. Get them from the authority itself.",
)
@click.option(
    "--signer-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PEM public key of the signer. Get it from the signer, not from the pack.",
)
def verify(pack_zip: Path, tsa_certificates: Path | None, signer_key: Path | None) -> int:
    """Check a pack as its CHECK.txt does, and say what could not be checked.

    Exit status: 0 everything holds, 1 something was changed, 3 something could not be checked.
    """
    from registry_audit.evidence.verifying import verify_pack

    checked = verify_pack(pack_zip, tsa_certificates, signer_key)
    for symbol, sentences in (
        ("=", checked.holds),
        ("*", checked.broken),
        ("?", checked.not_checked),
        (".", checked.notes),
    ):
        for sentence in sentences:
            click.echo(f"{symbol} {printable(sentence)}")
    result = "does not hold" if checked.broken else "holds as far as it was checked" if checked.not_checked else "holds"
    click.echo(f"The pack {result}.")
    return int(checked.exit_status)
