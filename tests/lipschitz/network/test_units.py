"""Units: the constant of u -> f(s u) / t, in brackets, witnesses, derivatives and certificates alike."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from app.lipschitz.errors import InvalidRequest
from app.lipschitz.files import analyze, verify
from tests.lipschitz.onnx_networks import mlp

S, T = [10.0, 0.1, 3.0], [2.0, 0.7]
BOX = {"kind": "box", "lower": [-10, -0.1, 0], "upper": [10, 0.3, 3]}


def weights(seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape) for shape in ((6, 3), (2, 6))]


def answer(data: bytes, rows: bytes | None = None, **fields: Any) -> dict[str, Any]:
    plain = {"methods": ["autolip", "jacobian", "gradient"], "domain": BOX, "budget_s": 60}
    return analyze(data, plain | fields, dataset=rows)


def folded(seed: int = 0) -> bytes:
    """The network with the scales multiplied into its weights."""
    first, last = weights(seed)
    return mlp([first * np.array(S), last / np.array(T)[:, None]])


def folded_box() -> dict[str, Any]:
    return {"kind": "box"} | {end: (np.array(BOX[end]) / np.array(S)).tolist() for end in ("lower", "upper")}


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_units_are_what_scaled_weights_would_be(norm: str) -> None:
    scaled = answer(mlp(weights()), norm=norm, input_scale=S, output_scale=T)["result"]
    plain = answer(folded(), norm=norm, domain=folded_box())["result"]
    assert scaled["upper"]["value"] == pytest.approx(plain["upper"]["value"], rel=1e-6)
    assert scaled["lower"]["value"] == pytest.approx(plain["lower"]["value"], rel=1e-3)
    np.testing.assert_allclose(scaled["sensitivities"]["upper"], plain["sensitivities"]["upper"], rtol=1e-6, atol=1e-9)
    assert (scaled["input_scale"], scaled["output_scale"]) == (S, T)


def test_a_ball_has_its_radius_in_the_units() -> None:
    ball = {"kind": "ball", "center": [5.0, 0.05, 1.0], "radius": 0.2}
    scaled = answer(mlp(weights()), domain=ball, input_scale=S)["result"]
    about = {"kind": "ball", "center": (np.array(ball["center"]) / np.array(S)).tolist(), "radius": 0.2}
    first, last = weights()
    plain = answer(mlp([first * np.array(S), last]), domain=about)["result"]
    assert scaled["upper"]["value"] == pytest.approx(plain["upper"]["value"], rel=1e-6)


def test_a_data_set_gives_its_deviations() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 3)) * np.array([5.0, 0.2, 0.0])
    stored = io.BytesIO()
    np.save(stored, rows)
    result = answer(mlp(weights()), stored.getvalue(), input_scale="dataset", output_scale="dataset")
    deviations = rows.std(0)
    deviations[2] = 1.0
    np.testing.assert_allclose(result["result"]["input_scale"], deviations, rtol=1e-12)
    first, last = weights()
    outputs = (np.maximum(rows @ first.T, 0.0) @ last.T).std(0)
    np.testing.assert_allclose(result["result"]["output_scale"], outputs, rtol=1e-9)


def test_quantiles_are_not_moved_by_an_outlier() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 3))
    rows[:, 2] = 4.0
    far = np.concatenate([rows, [[1e6, 0.0, 4.0]]])
    stored = io.BytesIO()
    np.save(stored, far)
    result = answer(mlp(weights()), stored.getvalue(), methods=["autolip"], input_scale="quantiles")["result"]
    spread = np.quantile(far, 0.95, axis=0) - np.quantile(far, 0.05, axis=0)
    np.testing.assert_allclose(result["input_scale"], [*spread[:2], 1.0], rtol=1e-9)
    assert max(result["input_scale"]) < 10.0


def test_the_certificate_states_the_units_and_the_check_reads_them() -> None:
    data = mlp(weights())
    found = answer(data, methods=["autolip"], domain={"kind": "all"}, input_scale=S, output_scale=2.0)
    certificate = found["certificate"]
    assert certificate["function"]["input_scale"] == S
    assert certificate["function"]["output_scale"] == 2.0
    assert verify(data, json.dumps(certificate).encode())["valid"]
    for tampered in ({"input_scale": [20.0, 0.1, 3.0]}, {"output_scale": 1.0}, {"output_scale": 0.0}):
        forged = certificate | {"function": certificate["function"] | tampered}
        assert not verify(data, json.dumps(forged).encode())["valid"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_scale": [1.0, 2.0]}, "input_scale needs 1 or 3"),
        ({"input_scale": 0.0}, "input_scale needs numbers from"),
        ({"output_scale": -1.0}, "output_scale needs numbers from"),
        ({"input_scale": "dataset"}, "names no data set"),
    ],
)
def test_scales_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        answer(mlp(weights()), **fields)
