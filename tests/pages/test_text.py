"""Numbers and names for people; axes, lanes and advice."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.advice import ADVICE
from app.contract.result import LayerView
from app.lipschitz import errors as of_library
from app.pages import text
from app.pages.charts.radii import survival
from app.pages.charts.scales import log_scale, ticks
from app.pages.rails import LANE, rails, sources_of
from app.refusals import BY_SLUG
from tests.pages.results import layer

POSITIVE = st.floats(min_value=1e-249, max_value=1e249)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 17))
def test_bounds_are_rounded_to_their_safe_side(value: float, digits: int) -> None:
    low, high = Decimal(text.lower(value, digits)), Decimal(text.upper(value, digits))
    assert low <= Decimal(value) <= high
    assert high - low <= abs(Decimal(value)) * Decimal(10) ** (1 - digits)


def test_numbers_look_like_numbers() -> None:
    assert [text.number(value) for value in (11.634355, 1.0, 0.0, 1234567.0, 1e7, 9.9e-4)] == [
        "11.6344", "1", "0", "1234570", "1e7", "9.9e-4",
    ]  # fmt: skip
    assert (text.upper(11.634355135), text.lower(11.634355122)) == ("11.6344", "11.6343")
    assert text.upper(None) == "–"
    assert (text.percent(-0.119), text.seconds(0.0123), text.seconds(120)) == ("−11.9 %", "12.3 ms", "2 min")
    assert (text.size(1060), text.size(3), text.shape([-1, 3]), text.shape([])) == (
        "1.035 KiB", "3 bytes", "? × 3", "scalar",
    )  # fmt: skip


@given(st.text(), st.integers(4, 30))
def test_names_are_short_and_visible(name: str, length: int) -> None:
    shown = text.shortened(name, length)
    assert len(shown) <= length
    shown.encode()  # no halves of pairs, which UTF-8 does not know
    assert not any(ord(c) < 32 or c in "\u202e\u200b" for c in shown)


@given(st.lists(POSITIVE, min_size=1, max_size=5), st.integers(3, 10))
def test_axes_hold_their_values_and_have_few_ticks(values: list[float], most: int) -> None:
    low, high = log_scale(values)["domain"]
    assert low <= min(values) <= max(values) <= high
    found = ticks(low, high, most)
    assert 1 <= len(found) <= 2 * most + 2
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in found)


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    size = draw(st.integers(1, 12))
    return [sorted(draw(st.sets(st.integers(-1, row - 1), min_size=1, max_size=3))) for row in range(size)]


@given(dags())
def test_two_values_that_wait_never_share_a_lane(sources: list[list[int]]) -> None:
    last = {source: row for row, of_row in enumerate(sources) for source in of_row}
    drawn = rails(sources)
    place = {-1: LANE} | {row: rail.x for row, rail in enumerate(drawn)}
    for row in range(len(sources)):
        waiting = [value for value in place if value < row and last.get(value, -2) > row]
        taken = [place[value] for value in waiting] + [place[row]]
        if max(place.values()) < LANE * 10:
            assert len(set(taken)) == len(taken)
        for source in sources[row]:
            assert f"M{place[source]} 0C" in drawn[row].path


def test_a_chain_is_one_lane() -> None:
    drawn = rails([[-1], [0], [1]])
    assert {rail.x for rail in drawn} == {LANE}
    assert drawn[1].path == f"M{LANE} 0C{LANE} 10 {LANE} 10 {LANE} 20M{LANE} 20V40"
    assert not drawn[2].path.endswith("V40")


def test_layers_of_a_result_without_sources_follow_one_another() -> None:
    rows = [layer(index, "fc", sources=sources) for index, sources in enumerate([[-1], [0, -1], [0, 0]])]
    assert sources_of([LayerView.model_validate(row) for row in rows]) == [[-1], [-1, 0], [0]]
    assert sources_of([LayerView.model_validate(layer(index, "fc")) for index in range(3)]) == [[-1], [0], [1]]


@given(st.lists(st.floats(0, 1e6) | st.just(math.inf), min_size=1, max_size=900))
def test_the_curve_of_radii_falls_to_the_share_that_never_leaves(radii: list[float]) -> None:
    steps = survival(radii, len(radii) + 1)
    assert [share for _, share in steps] == sorted((share for _, share in steps), reverse=True)
    assert steps[0][1] == len(radii) / (len(radii) + 1)
    assert steps[-1][1] == radii.count(math.inf) / (len(radii) + 1)


def test_every_end_of_a_job_has_advice() -> None:
    leaves = {kind.slug for kind in vars(of_library).values() if isinstance(kind, type) and hasattr(kind, "slug")}
    of_jobs = {"out-of-memory", "worker-crashed", "worker-protocol", "worker-lost", "queue-deadline", "time-limit"}
    assert (leaves & BY_SLUG.keys()) | of_jobs <= ADVICE.keys() | {"internal-error"}
    assert ADVICE.keys() <= BY_SLUG.keys()


@pytest.mark.parametrize("value", [float("1e-300"), 1.0, 1e300])
def test_a_single_value_has_an_axis(value: float) -> None:
    low, high = log_scale([value])["domain"]
    assert low < value < high
