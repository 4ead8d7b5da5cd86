"""Defines the rules that an audit can report. Ids are stable: add, never renumber."""

from dataclasses import dataclass

from registry_audit.verdict import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    name: str
    severity: Severity
    meaning: str
    remedy: str


def _rule(id: str, name: str, severity: Severity, meaning: str, remedy: str) -> Rule:
    return Rule(id, name, severity, meaning, remedy)


RUN_REGISTRY_MISMATCH = _rule(
    "RA001",
    "run-registry-mismatch",
    Severity.CRITICAL,
    "The run model and the registry model are not the same bytes.",
    "Find out which copy is the right one and who wrote the other; register the right one as a new version.",
)
CONTENT_CHANGED = _rule(
    "RA002",
    "content-changed",
    Severity.CRITICAL,
    "The bytes differ from the accepted baseline.",
    "Find out who overwrote the version; restore it, or accept the change with a reason.",
)
MODEL_MISSING = _rule(
    "RA003",
    "model-missing",
    Severity.CRITICAL,
    "The version is READY, but its storage is gone, empty or has no MLmodel at its root.",
    "Restore the storage from a backup or delete the version: nobody can load it.",
)
RUN_DELETED = _rule(
    "RA004",
    "run-deleted",
    Severity.HIGH,
    "The run or LoggedModel behind the version is deleted: `mlflow gc` would destroy its bytes.",
    "Restore it before the next `mlflow gc`.",
)
RUN_MISSING = _rule(
    "RA005",
    "run-missing",
    Severity.LOW,
    "The run behind the version no longer exists; the bytes still do.",
    "The model can still be loaded, but nobody can find out how it was made: write down where it came from.",
)
NOT_READY = _rule(
    "RA006",
    "not-ready",
    Severity.LOW,
    "The registration of the version is pending or has failed.",
    "Finish the registration or delete the version.",
)
MODEL_INCOMPLETE = _rule(
    "RA007",
    "model-incomplete",
    Severity.HIGH,
    "MLmodel is not valid, or what it names is missing, empty or smaller than when it was logged.",
    "Restore the named files from a backup or log the model again.",
)
SHORT_READ = _rule(
    "RA008",
    "short-read",
    Severity.HIGH,
    "The bytes read differ from the listed size, or the content changed while it was read.",
    "Run the audit again while nobody is writing; if the finding stays, check the store and any proxy in front of it.",
)
UNVERIFIABLE = _rule(
    "RA009",
    "unverifiable",
    Severity.MEDIUM,
    "The version could not be read in full, so the audit cannot judge it.",
    "Remove the cause and audit again.",
)
SOURCE_REDIRECTED = _rule(
    "RA010",
    "source-redirected",
    Severity.HIGH,
    "The version's source and its download URI now lead to different models.",
    "Register the right model as a new version and delete this one: which model it loads depends on how it is loaded.",
)
VERSION_VANISHED = _rule(
    "RA011",
    "version-vanished",
    Severity.MEDIUM,
    "A version with a baseline is no longer in the registry.",
    "If it was deleted on purpose, accept that with a reason; otherwise restore it.",
)
LINEAGE_MISMATCH = _rule(
    "RA012",
    "lineage-mismatch",
    Severity.MEDIUM,
    "MLmodel names another run or model than the version does.",
    "Find out where these bytes came from: they were not logged by the run that the version names.",
)
UNSAFE_ENTRY = _rule(
    "RA013",
    "unsafe-entry",
    Severity.HIGH,
    "The model holds a symlink that leaves it, a special file, a path outside its root, or names that collide.",
    "Remove or rename the entry and register the model again.",
)
SIGNATURE_INVALID = _rule(
    "RA014",
    "signature-invalid",
    Severity.HIGH,
    "The signature in the model is not made by the given key, or the files are not those that were signed.",
    "Find out who changed the model or its signature; restore what was signed, or have its owner sign it again.",
)

AMBIGUOUS_SOURCE = _rule(
    "RA015",
    "ambiguous-source",
    Severity.HIGH,
    "MLflow serves different bytes for the version, depending on how it is loaded.",
    "Register the model again from its exact location (models:/m-... for a LoggedModel) and delete this version.",
)

NOT_MIGRATED = _rule(
    "RA020",
    "not-migrated",
    Severity.HIGH,
    "A version of the source registry has no counterpart in the target registry.",
    "Migrate the version again and compare again, before the source is switched off.",
)
MIGRATED_CHANGED = _rule(
    "RA021",
    "migrated-changed",
    Severity.CRITICAL,
    "The counterpart of a version in the target registry has other bytes.",
    "Find out which tool wrote other bytes, copy the version again and compare again.",
)
METADATA_DIFFERS = _rule(
    "RA022",
    "metadata-differs",
    Severity.MEDIUM,
    "The counterpart in the target has other tags, description, aliases, stage, status, run or order of creation.",
    "Set the fields in the target as they are in the source.",
)
ONLY_IN_TARGET = _rule(
    "RA023",
    "only-in-target",
    Severity.LOW,
    "A version of the target registry has no counterpart in the source registry.",
    "Nothing, if you expected it: with --one-way it is not reported.",
)
RENUMBERED = _rule(
    "RA024",
    "renumbered",
    Severity.LOW,
    "The counterparts of a model's versions have other numbers.",
    "Update everything that uses a version number, or better, use an alias.",
)

RULES: tuple[Rule, ...] = (
    RUN_REGISTRY_MISMATCH,
    CONTENT_CHANGED,
    MODEL_MISSING,
    RUN_DELETED,
    RUN_MISSING,
    NOT_READY,
    MODEL_INCOMPLETE,
    SHORT_READ,
    UNVERIFIABLE,
    SOURCE_REDIRECTED,
    VERSION_VANISHED,
    LINEAGE_MISMATCH,
    UNSAFE_ENTRY,
    SIGNATURE_INVALID,
    AMBIGUOUS_SOURCE,
    NOT_MIGRATED,
    MIGRATED_CHANGED,
    METADATA_DIFFERS,
    ONLY_IN_TARGET,
    RENUMBERED,
)
RULE_BY_ID = {rule.id: rule for rule in RULES}


def blocks_acceptance(rule: str, severity: Severity) -> bool:
    """Say whether a version with such a finding is accepted only with `--despite RULE`."""
    # Accepting other bytes, or that a version is gone, is what RA002 and RA011 ask for.
    return severity.rank >= Severity.HIGH.rank and rule not in (CONTENT_CHANGED.id, VERSION_VANISHED.id)
