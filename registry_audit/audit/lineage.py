"""Does `MLmodel` name the run and the model that the version names?"""

import re

from registry_audit.audit.copies import ModelCopy
from registry_audit.model.listing import Problem
from registry_audit.model.mlmodel import InvalidMLmodel, parse_mlmodel
from registry_audit.printable import printable
from registry_audit.registry.version import RegisteredVersion

_LOGGED_MODEL_SOURCE = re.compile(r"models:/+(m-[0-9a-f]{32})(/|$)")


def lineage_problems(version: RegisteredVersion, copies: list[ModelCopy]) -> list[Problem]:
    """RA012 for each copy whose `MLmodel` names another run or model; silence where either side names none."""
    problems: dict[str, Problem] = {}
    source = _LOGGED_MODEL_SOURCE.match(version.source)
    for copy in copies:
        content = copy.reading.mlmodel if copy.reading else None
        if content is None:
            continue
        try:
            mlmodel = parse_mlmodel(content)
        except InvalidMLmodel:
            continue
        named = (("run", mlmodel.run_id, version.run_id), ("model", mlmodel.model_id, source[1] if source else None))
        for what, in_mlmodel, in_registry in named:
            if in_mlmodel and in_registry and in_mlmodel != in_registry:
                message = f"MLmodel names {what} {printable(in_mlmodel)}, the version {printable(in_registry)}"
                problems[message] = Problem("RA012", message, "MLmodel", blocks=False)
    return list(problems.values())
