"""What a result tells of single derivatives: names, signs, attained values, the ranking; and the gates about them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from app.lipschitz.errors import InvalidRequest
from app.lipschitz.files import analyze
from tests.lipschitz.onnx_networks import mlp, published

FEATURES = ["sepal length", "sepal width", "petal length", "petal width"]
BOX = {"kind": "box", "lower": 0, "upper": 1}


def asked(data: bytes, **fields: Any) -> dict[str, Any]:
    return analyze(data, {"methods": ["jacobian"], "domain": BOX, "budget_s": 60} | fields)["result"]


@cache
def iris() -> dict[str, Any]:
    return asked(mlp(*published("exlipbab_iris")), input_names=FEATURES)


def monotone() -> bytes:
    """One output that rises with x[0], falls with x[1], and does both with x[2]; x[3] is not read."""
    generator = np.random.default_rng(0)
    first, last = np.abs(generator.normal(size=(8, 4))), np.abs(generator.normal(size=(1, 8)))
    first[:, 1] *= -1.0
    first[:, 2] = np.tile([1.0, -1.0], 4)
    first[:, 3] = 0.0
    return mlp([first, last], [np.linspace(-1, 1, 8), np.zeros(1)])


def test_iris_has_names_signs_and_attained_values() -> None:
    found = iris()["sensitivities"]
    assert found["input_names"] == FEATURES
    assert found["output_names"] == [f"y[{i}]" for i in range(len(found["lower"]))]
    lower, upper, low, high = (np.array(found[key]) for key in ("lower", "upper", "attained_lower", "attained_upper"))
    assert (lower <= low).all()
    assert (low <= high).all()
    assert (high <= upper).all()
    for sign, least, most in zip(np.array(found["sign"]).flat, lower.flat, upper.flat, strict=True):
        assert sign == ("0" if least == most == 0 else "+" if least >= 0 else "-" if most <= 0 else "?")
    assert sum(found["counts"].values()) == lower.size


def test_the_ranking_is_by_the_largest_bound_of_a_column() -> None:
    found = iris()["sensitivities"]
    largest = np.maximum(np.abs(found["lower"]), np.abs(found["upper"])).max(0)
    assert [rank["index"] for rank in found["ranking"]] == np.argsort(-largest, kind="stable").tolist()
    assert [rank["bound"] for rank in found["ranking"]] == sorted(largest, reverse=True)
    assert all(rank["attained"] <= rank["bound"] for rank in found["ranking"])
    assert {rank["name"] for rank in found["ranking"]} == set(FEATURES)


def test_iris_attains_most_of_its_bounds() -> None:
    """On small networks the enclosure and what points attain are close."""
    ranking = iris()["sensitivities"]["ranking"]
    assert ranking[0]["attained"] > 0.5 * ranking[0]["bound"]


@pytest.mark.parametrize(
    ("gate", "verdict"),
    [
        ({"monotone": {"x[0]": "+", "1": "-", "x[3]": "0"}}, "pass"),
        ({"monotone": {"x[0]": "-"}}, "fail"),
        ({"monotone": {"x[2]": "+"}}, "fail"),
        ({"monotone": {"x[0]": "0"}}, "fail"),
        ({"max_sensitivity": {"x[0]": 1e3}}, "pass"),
        ({"max_sensitivity": {"x[0]": 1e-3}}, "fail"),
        ({"max_sensitivity": {"x[0]": 1e3}, "monotone": {"x[1]": "+"}}, "fail"),
    ],
)
def test_gates_about_single_derivatives(gate: dict[str, Any], verdict: str) -> None:
    result = asked(monotone(), methods=["autolip"], gate=gate)
    assert result["verdict"] == verdict
    assert bool(result["sensitivities"]["violations"]) == (verdict == "fail")


def test_a_violation_is_a_point_whose_derivative_anyone_can_take() -> None:
    (found,) = asked(monotone(), gate={"monotone": {"x[1]": "+"}})["sensitivities"]["violations"]
    assert (found["limit"], found["input"], found["output"]) == ("monotone", "x[1]", "y")
    generator = np.random.default_rng(0)
    first, last = np.abs(generator.normal(size=(8, 4))), np.abs(generator.normal(size=(1, 8)))
    first[:, 1] *= -1.0
    first[:, 2] = np.tile([1.0, -1.0], 4)
    first[:, 3] = 0.0
    active = first @ np.array(found["point"]) + np.linspace(-1, 1, 8) > 0
    derivative = (last * active) @ first
    assert derivative[0, 1] == pytest.approx(found["value"], rel=1e-9)
    assert all(0 <= coordinate <= 1 for coordinate in found["point"])


def test_between_bound_and_attained_value_a_gate_is_inconclusive() -> None:
    generator = np.random.default_rng(1)
    data = mlp([generator.normal(size=shape) for shape in ((20, 6), (20, 20), (2, 20))])
    (top, *_) = asked(data)["sensitivities"]["ranking"]
    between = (top["attained"] + top["bound"]) / 2
    assert top["attained"] < top["bound"]
    assert asked(data, gate={"max_sensitivity": {top["name"]: between}})["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gate": {"monotone": {"income": "+"}}}, "names 'income'"),
        ({"gate": {"max_sensitivity": {"4": 1.0}}}, "names '4'"),
        ({"input_names": ["a", "b"]}, "2 names for 4 entries"),
        ({"input_names": ["a", "b", "c", "a"]}, "a name twice"),
        ({"output_names": ["a", "b"]}, "2 names for 1 entries"),
    ],
)
def test_names_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        asked(monotone(), **fields)


def test_the_target_selects_the_rows() -> None:
    data = mlp(*published("exlipbab_iris"))
    margin = asked(data, target={"kind": "margin", "i": 0, "j": 1}, output_names=None)
    assert margin["sensitivities"]["output_names"] == ["y[0] - y[1]"]
    assert np.shape(margin["sensitivities"]["lower"]) == (1, 4)


def test_where_nobody_asked_many_derivatives_are_left_out() -> None:
    generator = np.random.default_rng(2)
    data = mlp([generator.normal(size=(5, 300)), generator.normal(size=(4, 5))])
    domain = {"kind": "ball", "center": 0.0, "radius": 0.01}
    assert asked(data, methods="auto", domain=domain, budget_s=2).get("sensitivities") is None
    named = asked(data, domain=domain)["sensitivities"]
    assert np.shape(named["lower"]) == (4, 300)
