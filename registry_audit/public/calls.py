"""Offers the commands as functions for notebooks and scripts, with the same defaults and exit status."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

from registry_audit import api
from registry_audit.api import USUAL_LEDGER
from registry_audit.audit.options import DEFAULT_WORKERS, AuditOptions, checked_options
from registry_audit.compare_config import parse_compare_config
from registry_audit.errors import AuditError, UsageError
from registry_audit.home import NO_LEDGER, usual_ledger_url
from registry_audit.migration.registries_config import MigrationOptions, map_of, parse_migration_config
from registry_audit.public.migrated import MigrationResult
from registry_audit.public.results import AuditResult, CheckResult, CompareResult
from registry_audit.pulling.verified_download import Pulled
from registry_audit.refs import split_version
from registry_audit.registry.address import registry_of_environment
from registry_audit.registry.connection import calm_mlflow
from registry_audit.report.document import AuditDocument
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.write import write_report
from registry_audit.verdict import Severity

FailOn = Literal["low", "medium", "high", "critical"]
Version = str | Mapping[str, str]

_ANSWERS = "a server is needed: give tracking_uri, set MLFLOW_TRACKING_URI, or call mlflow.set_tracking_uri"


def check(
    version: str,
    tracking_uri: str | None = None,
    *,
    registry_uri: str | None = None,
    ledger: str | None = USUAL_LEDGER,
    registry_name: str | None = None,
    fail_on: FailOn = "medium",
    download_dir: str | Path | None = None,
    signing_key: str | None = None,
    signing_certificate_chain: str | None = None,
    signing_ignore_paths: str | Iterable[str] = (),
    signing_ignore_unsigned: bool = False,
    **limits: int,
) -> CheckResult:
    """Check one version: are its two copies the same bytes, still there, and what was accepted?

    Args:
        version: `Wine/3`, `Wine@champion`, `Wine/production` or `Wine/latest`.
        tracking_uri: the MLflow server; by default `MLFLOW_TRACKING_URI`, which `mlflow.set_tracking_uri` sets.
        registry_uri: the model registry, if it is another server; by default `MLFLOW_REGISTRY_URI`, unless
            `MLFLOW_TRACKING_URI` names another tracking server.
        ledger: URL of the database of baselines; `usual` is the one that the commands use. With None nothing is
            remembered.
        registry_name: name of the registry in the ledger, whatever its address.
        fail_on: lowest severity of a finding that makes the result not clean.
        download_dir: directory to keep the files in; by default they are not kept.
        signing_key: file with a PEM public key; the `model.sig` of each model is verified with it.
        signing_certificate_chain: instead of a key: file with PEM certificates that the signing one must chain to.
        signing_ignore_paths: files and directories in a model that need not be signed.
        signing_ignore_unsigned: accept files that a signature does not name; the signature's status is then `partial`.
        limits: `max_files`, `max_bytes`, `max_version_seconds` and the others of docs/limits.md.

    Raises:
        UsageError: there is no such version, or an argument is wrong.
        CouldNotVerify: the server cannot be reached.
        LedgerError: the ledger is unusable.
    """
    name, selector = split_version(version)
    options = _options(
        tracking_uri,
        registry_uri,
        ledger,
        registry_name=registry_name,
        fail_on=fail_on,
        signing_key=signing_key or os.environ.get("REGISTRY_AUDIT_SIGNING_KEY") or None,
        signing_certificate_chain=signing_certificate_chain,
        signing_ignore_paths=signing_ignore_paths,
        signing_ignore_unsigned=signing_ignore_unsigned,
        **limits,
    )
    kept = None if download_dir is None else _path(download_dir, "download_dir")
    return CheckResult(api.check_model_version(options, name, selector, download_dir=kept))


def audit(
    tracking_uri: str | None = None,
    *,
    models: str | Iterable[str] = (),
    registry_uri: str | None = None,
    ledger: str | None = USUAL_LEDGER,
    registry_name: str | None = None,
    accept_new: bool = False,
    filter: str | None = None,
    latest: int | None = None,
    subset: str | None = None,
    quick: bool = False,
    full_every: int | None = None,
    liveness: bool = False,
    fail_on: FailOn = "medium",
    report_dir: str | Path | None = None,
    workers: int = 8,
    digest: Literal["sha256", "blake3"] = "sha256",
    signing_key: str | None = None,
    signing_certificate_chain: str | None = None,
    signing_ignore_paths: str | Iterable[str] = (),
    signing_ignore_unsigned: bool = False,
    **limits: int,
) -> AuditResult:
    """Audit every version of every registered model: read its copies in full and compare them.

    Args:
        tracking_uri, registry_uri, ledger, registry_name, fail_on, limits, and all that begins with `signing_`: as for
            `check`.
        models: names, or patterns such as `Wine-*`; by default all.
        accept_new: record a baseline for each version that was read in full and has none yet.
        filter: only versions that match this filter, in MLflow's own syntax.
        latest: only this many newest versions of each model.
        subset: `2/7` audits the second of seven stable parts.
        quick: skip models whose file list (sizes, times or ETags) has not changed since the last full read.
        full_every: with `quick`, read a model again if its last full read is this many days old.
        liveness: read no file, only check that each model is still there.
        report_dir: directory for audit.json, audit.html, audit.md and junit.xml. They are also written if the call is
            interrupted or loses its ledger.
        workers: how many versions to read at once.
        digest: digest algorithm for the files.

    Raises:
        UsageError: an argument is wrong, or the credentials are refused.
        CouldNotVerify: the registry cannot be listed. A version that cannot be read is a row, not an error.
        LedgerError: the ledger is unusable.
    """
    options = _options(
        tracking_uri,
        registry_uri,
        ledger,
        registry_name=registry_name,
        models=models,
        accept_new=accept_new,
        filter=filter,
        latest=latest,
        subset=subset,
        quick=quick,
        full_every=full_every,
        liveness=liveness,
        fail_on=fail_on,
        workers=workers,
        digest=digest,
        signing_key=signing_key or os.environ.get("REGISTRY_AUDIT_SIGNING_KEY") or None,
        signing_certificate_chain=signing_certificate_chain,
        signing_ignore_paths=signing_ignore_paths,
        signing_ignore_unsigned=signing_ignore_unsigned,
        **limits,
    )
    report = _ReportDirectory(report_dir)
    document = api.audit_registry(options, on_interruption=report.write_interrupted)
    report.write(document)
    return AuditResult(document)


def compare(
    one: Version,
    two: Version,
    tracking_uri: str | None = None,
    *,
    ledger: str | None = USUAL_LEDGER,
    fail_on: FailOn = "medium",
    compare_run_models: bool = True,
    compare_reg_models: bool = True,
    download_dir: str | Path | None = None,
    **limits: int,
) -> CompareResult:
    """Compare two versions, on one or two servers: their run models and their registry models.

    Args:
        one, two: `Wine/3` or `Wine@champion` on the tracking server; or, for a version elsewhere, the keys of a
            `tracking_server_1` in the configuration file of `registry-audit compare`: `host`, `model`,
            `version_or_stage`, and optionally `registry_uri`, `registry_name`, `native_model` and others.
        tracking_uri, ledger, fail_on, download_dir, limits: as for `check`.
        compare_run_models, compare_reg_models: which of the two comparisons to make.

    Raises:
        UsageError: there is no such version, or an argument is wrong.
        CouldNotVerify: a server cannot be asked.
        LedgerError: the ledger is unusable.
    """
    calm_mlflow()
    servers = {f"tracking_server_{n}": _server(each, tracking_uri) for n, each in enumerate((one, two), 1)}
    config = parse_compare_config(yaml.safe_dump(servers), "the arguments")
    compared = api.compare_model_versions(
        config,
        None if download_dir is None else _path(download_dir, "download_dir"),
        compare_run_models=compare_run_models,
        compare_reg_models=compare_reg_models,
        ledger=None if ledger == NO_LEDGER else ledger,
        fail_on=_severity(fail_on),
        limits=limits,
    )
    return CompareResult(compared)


def compare_registries(
    source: str | Mapping[str, str],
    target: str | Mapping[str, str],
    *,
    models: str | Iterable[str] = (),
    mapping: Mapping[str, str] = MappingProxyType({}),
    one_way: bool = False,
    in_place: bool = False,
    fail_on: FailOn = "medium",
    report_dir: str | Path | None = None,
    workers: int = DEFAULT_WORKERS,
    quick: bool = False,
    full_every: int | None = None,
    ledger: str = USUAL_LEDGER,
    **limits: int,
) -> MigrationResult:
    """Prove a migration: compare every version of one registry with its counterpart in another, found by its bytes.

    Args:
        source, target: the address of a server, database or file store; or the keys of `source` in the configuration
            file of `registry-audit compare-registries`: `host`, and optionally `registry_uri`, `token_env` and others.
        models: names in the source, or patterns as `Wine-*`; by default all.
        mapping: names in the target, as `{"Wine": "main.ml.wine"}`, `{"*": "main.ml.*"}`, `{"Wine/3": "Wine/1"}` or
            `{"stage:Production": "@champion"}`.
        one_way: ask only whether all of the source is in the target.
        in_place: the files were meant to stay where they are: one shared storage is not an error.
        fail_on: lowest severity of a finding that makes the result not clean.
        report_dir: where to write migration.json and its renderings.
        workers: how many versions of each registry to read at once.
        quick: skip models whose file list (sizes, times or ETags) has not changed since an audit last read them fully.
        full_every: with `quick`, read a model again if its last full read is this many days old.
        ledger: with `quick`, the ledger of those audits, as for `check`. It is only read.
        limits: as for `check`, and `max_listing_seconds` and `max_versions`.

    Raises:
        UsageError: an argument is wrong, a model is in neither registry, or credentials are refused.
        CouldNotVerify: a registry cannot be listed. A version that cannot be read is a row, not an error.
        LedgerError: with `quick`, the ledger is missing or unusable.
    """
    calm_mlflow()
    servers = {
        side: _keys(given) if isinstance(given, Mapping) else {"host": str(given)}
        for side, given in (("source", source), ("target", target))
    }
    # Only the models and the workers are taken from this: the addresses are checked further below.
    checked = checked_options(tracking_uri="-", ledger=None, models=models, workers=workers)
    options = MigrationOptions(
        checked.models,
        map_of(mapping, "mapping"),
        one_way,
        in_place,
        _severity(fail_on),
        checked.workers,
        limits,
        quick,
        full_every,
        _ledger_url(ledger),
    )
    config = parse_migration_config(yaml.safe_dump(servers), "the arguments")
    report = _ReportDirectory(report_dir)
    document = api.compare_registries(config, options, on_interruption=report.write_interrupted)
    report.write(document)
    return MigrationResult(document)


def pull(
    version: str,
    output: str | Path,
    tracking_uri: str | None = None,
    *,
    registry_uri: str | None = None,
    ledger: str = USUAL_LEDGER,
    registry_name: str | None = None,
    **limits: int,
) -> Pulled:
    """Download a registry model that is byte for byte what was accepted; otherwise raise, and leave nothing.

    Args:
        version: `Wine/3` or `Wine@champion`.
        output: an empty directory, or one that does not exist yet. It appears whole, with one rename.
        tracking_uri, registry_uri, ledger, registry_name, limits: as for `check`.

    Returns:
        What was pulled. Load it with `mlflow.pyfunc.load_model(str(pulled.path))`.

    Raises:
        NotAsAccepted: it differs from its baseline, or is gone; `differences` says how.
        CouldNotVerify: it has no baseline, or could not be read whole.
        UsageError: there is no such version, or the output is not empty.
        LedgerError: the ledger is unusable.
    """
    name, selector = split_version(version)
    options = _options(tracking_uri, registry_uri, ledger, registry_name=registry_name, **limits)
    return api.pull_model(options, name, selector, _path(output, "output"))


class _ReportDirectory:
    """Writes a report to a directory, if one is given; an interrupted call also writes what was done until then."""

    def __init__(self, directory: str | Path | None) -> None:
        """Check the directory before the work. Raises: UsageError: it cannot be written to."""
        self._directory = None if directory is None else _path(directory, "report_dir")
        if self._directory is None:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._directory):
                pass
        except OSError as error:
            raise UsageError(f"report_dir: {directory} cannot be written: {error.strerror}") from error

    def write(self, document: AuditDocument | MigrationDocument) -> None:
        """Write the report. Raises: OSError: the directory cannot be written any more."""
        if self._directory is not None:
            write_report(document, self._directory)

    def write_interrupted(self, document: AuditDocument | MigrationDocument) -> None:
        with suppress(OSError, AuditError):  # the caller is told what ended the call
            self.write(document)


def _options(tracking_uri: str | None, registry_uri: str | None, ledger: str | None, **chosen: Any) -> AuditOptions:
    calm_mlflow()
    found = _tracking_uri(tracking_uri)
    return checked_options(
        tracking_uri=found,
        registry_uri=registry_uri or registry_of_environment(found),
        ledger=_ledger_url(ledger),
        **chosen,
    )


def _ledger_url(given: str | None) -> str | None:
    url = usual_ledger_url() if given == USUAL_LEDGER else given
    return None if url == NO_LEDGER else url


def _path(given: str | Path, what: str) -> Path:
    try:
        return Path(given)
    except TypeError:
        raise UsageError(f"{what}: give a path, as a text or a pathlib.Path") from None


def _severity(given: str) -> Severity:
    try:
        return Severity(given)
    except ValueError:
        raise UsageError(f"fail_on: give one of {', '.join(Severity)}") from None


def _tracking_uri(given: str | None) -> str:
    found = given or os.environ.get("MLFLOW_TRACKING_URI")
    if not found:
        raise UsageError(_ANSWERS)
    return found


def _keys(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys as in a configuration file. A key whose value is None is left out."""
    return {str(key): str(value) for key, value in given.items() if value is not None}


def _server(version: Version, tracking_uri: str | None) -> dict[str, str]:
    if isinstance(version, Mapping):
        return _keys(version)
    name, selector = split_version(version)
    server = {"host": _tracking_uri(tracking_uri), "model": name, "version_or_stage": selector}
    registry_uri = registry_of_environment(server["host"])
    return server | ({"registry_uri": registry_uri} if registry_uri else {})
