"""Implements `registry-audit baseline`: show what was accepted, by whom and why, and accept versions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.boundary import Group
from registry_audit.cli.common_options import (
    SERVER,
    ledger_url,
    required_tracking_uri,
    with_options,
)
from registry_audit.cli.submit.option import submittable
from registry_audit.errors import UsageError
from registry_audit.printable import printable, restored, storable

if TYPE_CHECKING:
    from registry_audit.ledger.chain import Entry
    from registry_audit.ledger.store import Ledger, LedgerReader

_HELP = {"help_option_names": ["-h", "--help"]}


_HEAD = click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="DIGEST|FILE",
    help="Head from an earlier report, or that report's audit.json. The chain must contain it. May be repeated.",
)


@click.group("baseline", cls=Group, context_settings=_HELP)
def command() -> None:
    """Work with baselines: the bytes of each version when somebody accepted them."""


@command.command("list", context_settings=_HELP)
@with_options(*SERVER, "registry_name", "ledger")
def list_baselines(
    ledger: str | None, tracking_uri: str | None, registry_uri: str | None, registry_name: str | None
) -> None:
    """List every accepted version: manifest, number of files, when, by whom and why."""
    from registry_audit.ledger.chain import Kind
    from registry_audit.ledger.entry_bodies import Accepted, body_of
    from registry_audit.registry.version import version_key

    listed = 0
    with _opened(ledger).reading() as reader:
        registries = _registries(reader, registry_uri or tracking_uri, registry_name)
        for registry in registries:
            newest = reader.latest_of_versions(Kind.ACCEPTED, registry)
            for entry in sorted(newest, key=lambda entry: version_key(entry.name, entry.version)):
                body = body_of(entry, Accepted)
                digest = body.manifest or "accepted as gone"
                who = f"{entry.at}  {printable(body.by)}: {printable(body.reason)}"
                label, where = printable(f"{restored(entry.name)}/{entry.version}"), f"[{printable(registry)}]"
                click.echo(f"{label}  {digest}  {body.files} files  {who}  {where}")
                listed += 1
    if not listed:
        click.echo("no version is accepted yet: audit with --accept-new, or use baseline accept", err=True)


@command.command("registries", context_settings=_HELP)
@with_options("ledger")
def list_registries(ledger: str | None) -> None:
    """List the registries in the ledger, with their names and the addresses they were audited under."""
    from registry_audit.ledger.identity import known_registries

    with _opened(ledger).reading() as reader:
        for known in known_registries(reader):
            click.echo(printable(known.key))
            for name in known.names:
                click.echo(f"  named {printable(name)}")
            for address in known.addresses:
                click.echo(f"  at {printable(address)}")


@command.command("name-registry", context_settings=_HELP)
@click.argument("registry", metavar="REGISTRY")
@click.option("--name", metavar="NAME", help="The new name.")
@click.option("--address", metavar="URI", help="A new address under which it can be reached.")
@with_options("ledger")
def name_registry(registry: str, name: str | None, address: str | None, ledger: str | None) -> None:
    """Give a registry in the ledger a name or another address. REGISTRY is its present name or address."""
    from registry_audit.ledger.connecting import remember
    from registry_audit.ledger.identity import renamed_registry
    from registry_audit.registry.address import shown_address
    from registry_audit.registry.connection import Server, identity_of

    if name is None and address is None:
        raise UsageError("give the registry a name or an address: --name NAME, --address URI")
    identity = identity_of(Server(address)) if address else None
    opened = _opened(ledger)
    with opened.writing() as writer:
        head = writer.append([renamed_registry(writer, registry, name=name, address=identity)])
    remember(opened, head)
    shown = shown_address(registry) if "://" in registry else printable(registry)
    click.echo(f"{shown} is now known as {printable(name or identity or '')}")


@command.command("show", context_settings=_HELP)
@click.argument("version", metavar="NAME/V")
@click.option("--format", type=click.Choice(["text", "sha256sum", "model-signing"]), default="text", show_default=True)
@with_options(*SERVER, "registry_name", "ledger")
def show_baseline(
    version: str,
    format: str,
    ledger: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    registry_name: str | None,
) -> None:
    """Show the accepted files of a version, with sizes and digests."""
    from registry_audit.ledger.accept import split_reference
    from registry_audit.ledger.chain import Kind
    from registry_audit.ledger.entry_bodies import Accepted, body_of
    from registry_audit.ledger.identity import own_spelling
    from registry_audit.ledger.transfer import model_signing_listing, sha256sum_listing

    name, number = split_reference(version)
    with _opened(ledger).reading() as reader:
        registry = _one_registry(reader, registry_uri or tracking_uri, registry_name)
        name = own_spelling(reader, registry)(name)
        accepted = reader.of_version(registry, storable(name), number, Kind.ACCEPTED)
        body = body_of(accepted[-1], Accepted) if accepted else None
        if body is None or body.manifest is None:
            close = _meant(reader, registry, name)
            raise UsageError(f"{printable(version)} has no baseline in the ledger{close}")
        manifest = reader.manifest(body.manifest)
    if format == "sha256sum":
        click.echo(sha256sum_listing(manifest), nl=False)
    elif format == "model-signing":
        click.echo(model_signing_listing(manifest, name), nl=False)
    else:
        click.echo(f"accepted {accepted[-1].at} by {printable(body.by)}: {printable(body.reason)}")
        click.echo(f"manifest {body.manifest}")
        for entry in manifest.entries:
            click.echo(f"{entry.digest}  {entry.size:>12}  {printable(entry.path)}")


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    """Add the name of the user, not the worker's, and turn off the dry run, which is the flow's default."""
    from registry_audit.ledger.accept import split_reference
    from registry_audit.ledger.record import who

    for version in typed["versions"]:
        split_reference(version)
    return {"by": who(), "dry_run": False} | typed


@command.command("accept", context_settings=_HELP)
@click.argument("versions", metavar="NAME/V ...", nargs=-1, required=True)
@click.option("--reason", required=True, metavar="TEXT", help="Why these bytes are the right ones.")
@click.option("--by", metavar="NAME", help="Who accepts. [default: user@host]")
@click.option(
    "--despite",
    multiple=True,
    metavar="RA...",
    help="Accept in spite of a high or critical finding of this rule; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be accepted.")
@with_options(*SERVER, "registry_name", "ledger")
@submittable("accept-baseline", translate=_of_flow)
def accept_baseline(
    versions: tuple[str, ...],
    reason: str,
    by: str | None,
    despite: tuple[str, ...],
    dry_run: bool,
    ledger: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    registry_name: str | None,
) -> None:
    """Accept the bytes that the last audit read as the baseline of these versions. Refused if they changed since."""
    uri = required_tracking_uri(tracking_uri)

    from registry_audit.api import open_session
    from registry_audit.audit.options import AuditOptions
    from registry_audit.ledger.accept import accept, prepare
    from registry_audit.ledger.connecting import remember
    from registry_audit.ledger.record import algorithm_in_use, who
    from registry_audit.report.words import count

    opened = _opened(ledger)
    with opened.reading() as reader:
        registry = _one_registry(reader, registry_uri or uri, registry_name)
        digest = algorithm_in_use(reader, registry) or "sha256"
    options = AuditOptions.model_validate({"tracking_uri": uri, "registry_uri": registry_uri, "digest": digest})
    by = who() if by is None else by
    with open_session(options) as session:
        prepared = prepare(session, opened, registry, versions, by=by, reason=reason, despite=despite)
    for acceptance in prepared:
        changed = count(len(acceptance.changed_paths), "changed file")
        files = changed if acceptance.kind == "changed" else acceptance.kind
        digest = acceptance.digest or "as gone"
        done = "would accept" if dry_run else "accepted"
        click.echo(f"{done} {printable(acceptance.name)}/{acceptance.version}  {digest}  {files}")
        for path in acceptance.changed_paths:
            click.echo(f"  * {printable(path)}")
    if not dry_run:
        head = accept(opened, registry, prepared)
        remember(opened, head)
        click.echo(f"ledger head {head.digest}", err=True)


@command.command("waive", context_settings=_HELP)
@click.argument("version", metavar="NAME/V")
@click.option("--rule", required=True, metavar="RA...", help="The rule of the finding.")
@click.option("--path", metavar="PATH", help="Only the finding about this file of the model.")
@click.option("--reason", required=True, metavar="TEXT", help="Why the finding is acceptable for now.")
@click.option("--until", required=True, metavar="YYYY-MM-DD", help="Last day of the waiver (UTC).")
@click.option("--by", metavar="NAME", help="Who answers for it. [default: user@host]")
@with_options(*SERVER, "registry_name", "ledger")
def waive_finding(
    version: str,
    rule: str,
    path: str | None,
    reason: str,
    until: str,
    by: str | None,
    ledger: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    registry_name: str | None,
) -> None:
    """Tolerate a finding until a day, or until the bytes change: it is still shown, but does not count."""
    from registry_audit.ledger.accept import split_reference, waive
    from registry_audit.ledger.connecting import remember
    from registry_audit.ledger.identity import own_spelling
    from registry_audit.ledger.record import who

    name, number = split_reference(version)
    opened = _opened(ledger)
    with opened.reading() as reader:
        registry = _one_registry(reader, registry_uri or tracking_uri, registry_name)
        name = own_spelling(reader, registry)(name)
    head = waive(
        opened, registry, name, number, rule, path=path, by=who() if by is None else by, reason=reason, until=until
    )
    remember(opened, head)
    click.echo(f"waived {rule} on {printable(version)} until {until}")


@command.command("history", context_settings=_HELP)
@click.argument("version", metavar="NAME/V")
@with_options(*SERVER, "registry_name", "ledger")
def show_history(
    version: str, ledger: str | None, tracking_uri: str | None, registry_uri: str | None, registry_name: str | None
) -> None:
    """Show what was accepted for a version, and what each audit found."""
    from registry_audit.ledger.accept import split_reference
    from registry_audit.ledger.identity import own_spelling

    name, number = split_reference(version)
    with _opened(ledger).reading() as reader:
        registry = _one_registry(reader, registry_uri or tracking_uri, registry_name)
        entries = reader.of_version(registry, storable(own_spelling(reader, registry)(name)), number)
        if not entries:
            close = _meant(reader, registry, name)
            raise UsageError(f"the ledger knows nothing of {printable(version)} in {printable(registry)}{close}")
        for entry in entries:
            click.echo(f"{entry.at}  {entry.kind:<16}  {_sentence(entry)}".rstrip())


def _meant(reader: "LedgerReader", registry: str, name: str) -> str:
    from registry_audit.errors import did_you_mean
    from registry_audit.ledger.chain import Kind

    names = {restored(entry.name) for entry in reader.of_kind(Kind.ACCEPTED, registry=registry)}
    return "" if name in names else did_you_mean(name, sorted(names))


@command.command("verify", context_settings=_HELP)
@_HEAD
@with_options("ledger")
def verify_ledger(heads: tuple[str, ...], ledger: str | None) -> None:
    """Recompute the chain and every manifest. Ends with 4 if anything was changed, removed or added."""
    from registry_audit.ledger.chain import Kind, clock_note
    from registry_audit.ledger.verified_chain import given_head, must_be_in

    given = [given_head(head) for head in heads]
    opened = _opened(ledger)
    newest = opened.verify()
    with opened.reading() as reader:
        held = [(head, must_be_in(reader.beginning_with, head)) for head in given]
        started = {entry.audit_id: entry for entry in reader.of_kind(Kind.AUDIT_STARTED)}
        for entry in reader.of_kind(Kind.AUDIT_FINISHED):
            started.pop(entry.audit_id, None)
    for head, entry in held:
        click.echo(f"{head.source} is entry {entry.seq} of {entry.at}: {entry.digest}")
    if note := clock_note(newest):
        click.echo(note)
    for entry in started.values():
        click.echo(f"interrupted or running: audit {entry.audit_id}, begun {entry.at}")
    count = newest.seq if newest else 0
    click.echo(f"the chain of {count} entries is whole; head {newest.digest if newest else 'none'}")


@command.command("export", context_settings=_HELP)
@with_options("ledger")
def export_ledger(ledger: str | None) -> None:
    """Print the whole ledger as JSON Lines."""
    from registry_audit.ledger.transfer import export_lines

    for line in export_lines(_opened(ledger)):
        click.echo(line)


@command.command("import", context_settings=_HELP)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_HEAD
@with_options("ledger")
def import_ledger(file: Path, heads: tuple[str, ...], ledger: str | None) -> None:
    """Create a ledger from an export. Refused unless the export contains every known head."""
    from registry_audit.ledger.connecting import remember, shown_ledger
    from registry_audit.ledger.transfer import fill, read_export
    from registry_audit.ledger.verified_chain import given_head, known_heads, must_be_in, must_hold_known

    given, url = [given_head(head) for head in heads], shown_ledger(_url(ledger))
    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            export = read_export(lines)
    except OSError as error:
        raise UsageError(f"{printable(str(file))} cannot be read: {error.strerror}") from error
    by_digest = {entry.digest: entry for entry in export.entries}

    def find(digits: str) -> list["Entry"]:
        if digits in by_digest:
            return [by_digest[digits]]
        return [entry for entry in export.entries if entry.digest.startswith(digits)]

    held = [must_be_in(find, head).seq for head in given]
    held += [0] * must_hold_known(find, export.entries[0].digest, known_heads(), url)
    opened = _opened(ledger, restore=True)  # opened last, so that a refused import leaves no empty ledger
    head = fill(opened, export)
    remember(opened, head)
    click.echo(f"imported {head.seq} entries; head {head.digest}")
    against = f"{len(held)} known heads are in it" if held else "it was not checked against any known head"
    click.echo(
        f"{against}. The export ends on {head.at} and cannot show what was recorded later: check it with your newest "
        "report, with baseline verify --head audit.json",
        err=True,
    )


def _opened(ledger: str | None, *, restore: bool = False) -> "Ledger":
    """Open the ledger; it is closed when the command ends."""
    from registry_audit.ledger.connecting import open_ledger

    opened = open_ledger(_url(ledger), create=restore, restore=restore)
    click.get_current_context().call_on_close(opened.close)
    return opened


def _url(ledger: str | None) -> str:
    url = ledger_url(ledger)
    if url is None:
        raise UsageError("this needs a ledger: --ledger URL")
    return url


def _registries(reader: "LedgerReader", uri: str | None, name: str | None) -> list[str]:
    """Return the keys of the chosen registry, or of all registries in the ledger."""
    from registry_audit.ledger.identity import audited_registry
    from registry_audit.registry.connection import Server, identity_of

    if uri is None and name is None:
        return reader.registries()
    identity = identity_of(Server(uri)) if uri is not None else ""
    return [audited_registry(reader, identity, name)]


def _one_registry(reader: "LedgerReader", uri: str | None, name: str | None) -> str:
    registries = _registries(reader, uri, name)
    if len(registries) != 1:
        known = ", ".join(printable(registry) for registry in registries[:5]) or "none"
        known += f" and {len(registries) - 5} more" if len(registries) > 5 else ""
        raise UsageError(f"which registry? Give --tracking-uri or --registry-name; the ledger knows {known}")
    return registries[0]


def _sentence(entry: "Entry") -> str:
    from registry_audit.ledger.entry_bodies import Accepted, FindingOpened, FindingResolved, Read, Waived, any_body_of

    match any_body_of(entry):
        case Accepted(manifest=manifest, by=by, reason=reason, despite=despite):
            said = "".join(f" (despite {printable(rule)})" for rule in despite)
            return f"{manifest or 'as gone'} by {printable(by)}: {printable(reason)}{said}"
        case Read(verdict=verdict, baseline=baseline, manifest=manifest, rules=rules):
            found = printable("".join(f" {rule}" for rule in rules))
            return f"{printable(verdict)}, baseline {printable(str(baseline))}, {manifest or 'not read in full'}{found}"
        case FindingOpened(rule=rule, severity=severity, path=path):
            return f"{rule} {severity} {printable(path or '')}"
        case FindingResolved(rule=rule, path=path, by=by):
            return f"{rule} {printable(path or '')} {printable(by)}".rstrip()
        case Waived(rule=rule, until=until, by=by, reason=reason):
            return f"{rule} until {until} by {printable(by)}: {printable(reason)}"
        case _:
            return ""
