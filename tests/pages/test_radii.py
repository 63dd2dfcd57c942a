"""The charts of radii: the curve with its ceiling, and rows as pictures."""

from __future__ import annotations

import pytest

from app.contract.question import Gate
from app.contract.radii import RadiiView
from app.contract.result import ResultView
from app.pages.charts.images import image_chart, pixels
from app.pages.charts.radii import radius_chart
from app.pages.limits import limits
from tests.pages.results import result

STEPS = [(0.0, 0.9), (0.2, 0.5), (0.4, 0.0)]


def test_the_ceiling_is_a_dashed_line_above_the_curve() -> None:
    spec = radius_chart(STEPS, [(0.0, 0.9), (0.5, 0.1)], (0.3, 0.8), 760)
    assert spec is not None
    dashed = [layer for layer in spec["layer"] if "strokeDash" in layer["mark"]]
    assert [point["share"] for point in dashed[0]["data"]["values"]] == [0.9, 0.1, 0.1]
    assert spec["data"]["values"][-1] == {"radius": 0.5, "share": 0.0}
    assert radius_chart([(0.0, 0.0)], [], None, 760) is None


@pytest.mark.parametrize(
    ("count", "shape", "sides"),
    [(784, [1, 784], (28, 28)), (48, [1, 6, 8], (6, 8)), (3 * 64 * 64, [1, 3, 64, 64], (32, 32)), (7, [1, 7], None)],
)
def test_a_row_that_is_an_image_is_shown_as_one(count: int, shape: list[int], sides: tuple[int, int] | None) -> None:
    grid = pixels([float(k % 5) for k in range(count)], shape)
    assert (grid and (len(grid), len(grid[0]))) == sides
    if grid:
        assert {0.0, 1.0} <= {min(map(min, grid)), max(map(max, grid))}


def test_neighbours_of_one_gray_are_one_rectangle() -> None:
    grid = [[0.0, 1.0, 1.0, 0.5]] * 4
    assert [(run["x"], run["x2"]) for run in image_chart(grid)["data"]["values"][:2]] == [(1, 3), (3, 4)]


def test_the_gate_counts_all_rows_and_tells_what_has_fallen() -> None:
    asked = {"radius": 0.3, "certified": 7600, "fallen": 500}
    together = RadiiView.model_validate(
        {"rows": 10_000, "evaluated": 10_000, "right": 9500, "mean": 0.4, "median": 0.4, "certified": STEPS}
        | {"ceiling": STEPS, "asked": asked, "methods": {}, "classes": [], "worst": []}
    )
    shown = ResultView.model_validate(result()).model_copy(update={"radii": together})
    (told,) = limits(Gate(min_certified_share=0.7, radius=0.3), shown)
    assert "7600 of 10000 are (76.0 %)" in told.finding.replace(",", "").replace("\u202f", "")
    assert "500 are known to change" in told.finding
