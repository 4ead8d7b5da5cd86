"""Defines every model of the demo registry, what happened to it, and what an audit must report.

`python -m registry_audit.demo.scenario DIRECTORY` writes it; `build_demo_registry` starts that in a separate process.
One line of progress goes to stdout for each model. The last line is the expected results, as JSON.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from registry_audit.demo import damage, models
from registry_audit.demo.writer import RegistryWriter
from registry_audit.verdict import Verdict

MERCHANTS = Path("artifacts/tables/lookup/eu/merchants.csv")


def wine_quality(registry: RegistryWriter) -> None:
    """Add LoggedModels of MLflow 3. A retraining script overwrote the registry copy of one version."""
    name = "Wine-Quality"
    version = registry.register(name, registry.log_sklearn(models.regression(1)), stage="Archived")
    registry.expect(name, version, "healthy: logged and registered by MLflow 3", Verdict.SAME_STORAGE)

    version = registry.register(name, registry.log_sklearn(models.regression(2)), stage="Staging")
    registry.give_own_copy(name, version)
    registry.expect(name, version, "healthy: the registry keeps a copy of its own", Verdict.MATCH)

    version = registry.register(name, registry.log_sklearn(models.regression(3)), stage="Production", alias="champion")
    copy = registry.give_own_copy(name, version)
    logged = registry.log_sklearn(models.regression(4))
    retrained = registry.register(name, logged)
    damage.overwrite(copy / "model.pkl", (registry.storage(name, retrained) / "model.pkl").read_bytes())
    what = "model.pkl of the registry copy was overwritten with a retrained model"
    registry.expect(name, version, what, Verdict.MISMATCH, "RA001")

    registry.client.delete_logged_model(logged.source.removeprefix("models:/"))
    # MLflow no longer tells where a deleted LoggedModel was stored, so an audit may or may not find its bytes.
    registry.expect(name, retrained, "the LoggedModel behind the version was deleted", None, "RA004")


def churn(registry: RegistryWriter) -> None:
    """Add models of MLflow 2, whose files lie below the run's artifacts and share the run's fate."""
    name = "Churn"

    def register(seed: int, *, alias: str | None = None) -> tuple[str, str]:
        logged = registry.log_sklearn_as_mlflow_2(models.classification(seed))
        return registry.register(name, logged, alias=alias), logged.run_id

    version, _ = register(1)
    registry.expect(name, version, "healthy: files of the run, as MLflow 2 logged them", Verdict.SAME_STORAGE)

    version, run_id = register(2, alias="champion")
    registry.client.delete_run(run_id)
    what = "the run was deleted and can still be restored"
    registry.expect(name, version, what, Verdict.SAME_STORAGE, "RA004")

    version, run_id = register(3)
    damage.forget_run(registry.layout.database, run_id)
    registry.expect(name, version, "the run is gone for good, its files are not", Verdict.SAME_STORAGE, "RA005")

    version, _ = register(4)
    damage.leave_registration_pending(registry.layout.database, name, version)
    registry.expect(name, version, "the registration was never finished", Verdict.SKIPPED, "RA006")


def fraud_detector(registry: RegistryWriter) -> None:
    """Add versions of a Python class with nested lookup tables, each with its own registry copy."""
    name = "Fraud-Detector"
    tables = models.write_fraud_tables(registry.layout.scratch)

    def register(*, alias: str | None = None) -> tuple[str, Path]:
        logged = registry.log_pyfunc(models.fraud_detector(), artifacts={"tables": str(tables)})
        version = registry.register(name, logged, alias=alias)
        return version, registry.give_own_copy(name, version)

    version, _ = register()
    registry.expect(name, version, "healthy: two copies with nested directories", Verdict.MATCH)

    version, copy = register(alias="champion")
    damage.overwrite_unnoticed(copy / MERCHANTS, b"lottery,0.93", b"lottery,0.03")
    what = "a nested lookup table of the registry copy was edited, size and time unchanged"
    registry.expect(name, version, what, Verdict.MISMATCH, "RA001")

    version, copy = register()
    # MLmodel neither names this file nor counts its size, so only the comparison can show that it is missing.
    damage.delete_file(copy / "requirements.txt")
    registry.expect(name, version, "requirements.txt is missing from the registry copy", Verdict.MISMATCH, "RA001")

    version, copy = register()
    damage.add_file((copy / MERCHANTS).with_name("merchants-new.csv"), "merchant,risk\n")
    what = "somebody put another lookup table into the registry copy"
    registry.expect(name, version, what, Verdict.MISMATCH, "RA001")

    version, copy = register()
    damage.add_registered_model_meta(copy, name, version)
    what = "healthy: MLflow left its own registered_model_meta in the registry copy"
    registry.expect(name, version, what, Verdict.EQUIVALENT)

    version, copy = register()
    damage.delete_storage(copy)
    registry.expect(name, version, "the registry copy was deleted", Verdict.MISMATCH, "RA001", "RA003", "RA010")


def spam_filter(registry: RegistryWriter) -> None:
    """Add models logged as code, some with entries that no model should contain."""
    name = "Spam-Filter"
    code = registry.layout.scratch / "spam_filter.py"
    code.write_text(models.SPAM_FILTER_CODE, encoding="utf-8")

    def register(*, alias: str | None = None) -> tuple[str, Path]:
        version = registry.register(name, registry.log_pyfunc(str(code)), alias=alias)
        return version, registry.storage(name, version)

    version, _ = register(alias="champion")
    registry.expect(name, version, "healthy: logged as code", Verdict.SAME_STORAGE)

    version, model = register()
    words = registry.layout.elsewhere / "words.txt"
    damage.add_file(words, "prize\n")
    damage.add_symlink_out_of(model, words, "words.txt")
    registry.expect(name, version, "a symlink leads out of the model", Verdict.UNVERIFIABLE, "RA013")

    version, model = register()
    damage.add_fifo(model / "words.pipe")
    registry.expect(name, version, "a named pipe lies in the model", Verdict.UNVERIFIABLE, "RA013")

    if damage.tells_case_apart(registry.layout.scratch):
        version, model = register()
        damage.add_names_that_differ_by_case(model, "Words.txt", "words.txt")
        registry.expect(name, version, "two names differ only by case", Verdict.SAME_STORAGE, "RA013")


def house_prices(registry: RegistryWriter) -> None:
    """Add versions with one storage for run and registry, each incomplete in another way."""
    name = "House-Prices"

    def register(seed: int, *, stage: str | None = None) -> tuple[str, Path]:
        logged = registry.log_sklearn_as_mlflow_2(models.regression(seed), format="skops")
        version = registry.register(name, logged, stage=stage)
        return version, registry.storage(name, version)

    version, model = register(1, stage="Production")
    damage.delete_storage(model)
    registry.expect(name, version, "the storage was deleted", Verdict.UNVERIFIABLE, "RA003")

    version, model = register(2)
    damage.empty_directory(model)
    registry.expect(name, version, "the directory is there and empty", Verdict.UNVERIFIABLE, "RA003")

    version, model = register(3)
    damage.delete_file(model / damage.MLMODEL)
    registry.expect(name, version, "MLmodel was deleted", Verdict.UNVERIFIABLE, "RA003")

    version, model = register(4)
    damage.break_mlmodel(model)
    registry.expect(name, version, "MLmodel is not valid YAML", Verdict.SAME_STORAGE, "RA007")

    version, model = register(5)
    damage.delete_file(_weights(model))
    registry.expect(name, version, "the model file that MLmodel names is missing", Verdict.SAME_STORAGE, "RA007")

    version, model = register(6)
    damage.truncate(_weights(model), to_bytes=0)
    registry.expect(name, version, "the model file is empty", Verdict.SAME_STORAGE, "RA007")

    version, model = register(7)
    damage.truncate(_weights(model), to_bytes=_weights(model).stat().st_size // 2)
    what = "half of the model file is missing; only the size that MLmodel remembers tells"
    registry.expect(name, version, what, Verdict.SAME_STORAGE, "RA007")


def credit_score(registry: RegistryWriter) -> None:
    name = "Credit-Score"
    first = registry.log_sklearn(models.classification(11))
    version = registry.register(name, first)
    registry.expect(name, version, "healthy", Verdict.SAME_STORAGE)

    version = registry.register(name, registry.log_sklearn(models.classification(12)), alias="champion")
    damage.replace_run_id(registry.storage(name, version), first.run_id)
    registry.expect(name, version, "MLmodel names another run than the version", Verdict.SAME_STORAGE, "RA012")


def demand_forecast(registry: RegistryWriter) -> None:
    """Add versions with one storage under different addresses: healthy, but easily mistaken for two copies."""
    name = "Demand-Forecast"
    logged = registry.log_sklearn_as_mlflow_2(models.regression(21))
    version = registry.register(name, logged, source=f"runs:/{logged.run_id}/model")
    registry.expect(name, version, "healthy: registered by its runs:/ address", Verdict.SAME_STORAGE)

    copy = registry.copy_version(name, version, to=f"{name}-Live", alias="champion")
    what = f"healthy: a copy of {name}/{version} made with copy_model_version"
    registry.expect(f"{name}-Live", copy, what, Verdict.SAME_STORAGE)

    version = registry.register(name, registry.log_sklearn_as_mlflow_2(models.regression(22)))
    old_place = registry.storage(name, version)
    new_place = registry.layout.elsewhere / "new-disk" / "demand-forecast"
    new_place.parent.mkdir()
    old_place.rename(new_place)
    old_place.symlink_to(new_place, target_is_directory=True)
    registry.set_storage_location(name, version, str(new_place))
    what = "healthy: moved to another disk, with a symlink in the old place that the run still names"
    registry.expect(name, version, what, Verdict.SAME_STORAGE)


def recommender(registry: RegistryWriter) -> None:
    """Reuse the name of a deleted model: version 1 is now another model, and a copy still refers to it."""
    name = "Recommender"
    first = registry.register(name, registry.log_sklearn(models.neighbours(1)))
    copy = registry.copy_version(name, first, to=f"{name}-Live", alias="champion")
    version = registry.replace_model(name, registry.log_sklearn(models.neighbours(2)))
    registry.expect(name, version, "healthy: a new model under the name of a deleted one", Verdict.SAME_STORAGE)
    what = f"copied from a {name}/1 that was deleted; its source now leads to a new model of that name"
    registry.expect(f"{name}-Live", copy, what, Verdict.MISMATCH, "RA001", "RA010")


def support_reply(registry: RegistryWriter) -> None:
    """Add a prompt, which the registry keeps beside the models and which no audit of models may list."""
    registry.client.register_prompt("Support-Reply", "Answer {{question}} in two friendly sentences.")


STORY: tuple[Callable[[RegistryWriter], None], ...] = (
    wine_quality,
    churn,
    fraud_detector,
    spam_filter,
    house_prices,
    credit_score,
    demand_forecast,
    recommender,
    support_reply,
)


def main(directory: str) -> None:
    registry = RegistryWriter(Path(directory))
    for number, chapter in enumerate(STORY, start=1):
        _tell(f"{number} of {len(STORY)}: {chapter.__name__.replace('_', ' ')}")
        chapter(registry)
    registry.close()
    _tell(json.dumps([asdict(result) for result in registry.expected]))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _weights(model: Path) -> Path:
    """Return `model.skops`, or `model.pkl` if the installed MLflow does not write skops."""
    (found,) = sorted(model.glob("model.*"))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
