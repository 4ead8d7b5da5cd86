"""Hostile values for the fuzzing, and how long it lasts: seconds in `make test`, minutes with `make fuzz`.

With `make fuzz` the examples that failed, and those that reached far, are kept in `.fuzz` and tried first next time.
"""

import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

DIRECTORY = Path(__file__).parents[2] / ".fuzz"
FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))  # how many times the examples of a short run


def fuzzed(examples: int) -> settings:
    """Settings of one test: so many examples in a short run."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    chosen = settings(max_examples=examples * FACTOR, print_blob=True, suppress_health_check=checks)
    return settings(chosen, database=DirectoryBasedExampleDatabase(DIRECTORY)) if FACTOR > 1 else chosen


# Whatever JSON can hold, and some things that it should not.
texts = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "..",
        "/",
        "²",
        "1.0",
        "-1",
        "9" * 5_000,
        "\u202e",
        "<script>",
        "%2e%2e",
        "a\nb",
        "m-" + "0" * 32,
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.integers(10**18, 10**30) | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with one of its parts, at any depth, replaced, left out, or given twice."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.integers(0, 5)):
            case 0:
                return {other: part for other, part in value.items() if other != key}
            case 1:
                return value | {key: draw(values)}
            case _:
                return value | {key: draw(changed(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        index = draw(st.integers(0, len(value) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                return [*value, value[index]]
            case 1:
                return value[:index] + value[index + 1 :]
            case _:
                return [*value[:index], draw(changed(value[index])), *value[index + 1 :]]
    return draw(values)
