"""Tables of tests of which every pair of values is met at once, and the rest of the combinations by the slow tests."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest


def pairwise(
    first: Sequence[Any], second: Sequence[Any], third: Sequence[Any], ids: Callable[[Any], str] = str
) -> list[pytest.ParameterSet]:
    """All combinations, as parameters. Those are not slow in which the third value follows from the other two.

    Law: each pair of a first and a second value is met without the slow ones; a pair with a third value too, where the
    other column is as long as the third.
    """
    assert len(third) <= max(len(first), len(second))
    table = []
    for (n, one), (m, two), (k, three) in itertools.product(*map(enumerate, (first, second, third))):
        marks = () if k == (n + m) % len(third) else (pytest.mark.slow,)
        table.append(pytest.param(one, two, three, marks=marks, id="-".join(map(ids, (one, two, three)))))
    return table
