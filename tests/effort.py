"""How much a property test tries: a share in `make test`, everything in `make test-all`."""

import itertools
import os
from collections.abc import Iterable

import pytest
from _pytest.mark.structures import ParameterSet
from hypothesis import settings

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE", "steady") != "steady"
QUICK_EXAMPLES = 25


def examples(most: int) -> settings:
    """At most this many examples; a quarter in `make test`."""
    return settings(max_examples=most if THOROUGH else max(most // 4, 3), deadline=None)


def sampled(*factors: Iterable[object], every: int) -> list[ParameterSet]:
    """Cases of a parametrised test: the product of the factors, of which one in `every` is quick and the others slow.

    A case is quick where its places in the factors add up to a multiple of `every`, so each value of a factor meets
    `make test` as long as another factor has `every` values or more.
    """
    numbered = itertools.product(*(list(enumerate(factor)) for factor in factors))
    cases = [(sum(place for place, _ in case), [value for _, value in case]) for case in numbered]
    return [pytest.param(*values, marks=() if total % every == 0 else pytest.mark.slow) for total, values in cases]
