"""Constants from one norm to another: bounds, certificates and witnesses, on the whole space and on balls."""

import io
import json
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from app.contract.question import Question
from app.contract.request import JobRequest
from app.lipschitz.analysis import analyze
from app.lipschitz.certificate.verify import verify
from app.lipschitz.errors import InvalidRequest
from app.lipschitz.ingest import capture_artifact
from app.lipschitz.request import Request
from tests.lipschitz.certificate.models import exported

NORMS = ("1", "2", "inf")
PAIRS = [(p, q) for p in NORMS for q in NORMS if p != q]
DUAL = {"1": np.inf, "2": 2.0, "inf": 1.0}
SHA = "0" * 64


@cache
def model() -> tuple[nn.Sequential, bytes]:
    net = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    torch.manual_seed(3)
    for layer in net[::2]:
        nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    return net, capture_artifact(exported(lambda: net, 5))


def signs(size: int) -> np.ndarray[Any, Any]:
    return np.array(list(product((-1.0, 1.0), repeat=size)))


def norm_of(matrix: np.ndarray[Any, Any], p: str, q: str) -> float:
    """||J||_(p -> q), by the vertices of the input's unit ball or of the output's dual one."""
    if p == "1":
        return float(np.linalg.norm(matrix, float(q), axis=0).max())
    if q == "inf":
        return float(np.linalg.norm(matrix, DUAL[p], axis=1).max())
    if p == "inf":
        return float(np.linalg.norm(matrix @ signs(matrix.shape[1]).T, float(q), axis=0).max())
    return float(np.linalg.norm(matrix.T @ signs(matrix.shape[0]).T, DUAL[p], axis=0).max())


def steepest(p: str, q: str, spread: float) -> float:
    net, _ = model()
    points = spread * (2.0 * torch.rand(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1.0)
    return max(norm_of(torch.autograd.functional.jacobian(net, x).numpy(), p, q) for x in points)


@cache
def answer(p: str, q: str, domain: str = "all") -> Any:
    fields = {
        "norm": {"input": p, "output": q},
        "domain": {"kind": "all"} if domain == "all" else {"kind": "box", "lower": -0.5, "upper": 0.5},
        "methods": ["lipsdp"],
        "budget_s": 20,
    }
    return analyze(model()[1], fields, model_sha256=SHA)


def checked(document: dict[str, Any]) -> dict[str, Any]:
    return verify(model()[1], json.dumps(document).encode(), SHA)


@pytest.mark.parametrize(
    ("p", "q", "domain"), [(*pair, "all") for pair in PAIRS] + [("inf", "1", "box"), ("1", "2", "box")]
)
def test_bounds_hold_and_are_proved(p: str, q: str, domain: str) -> None:
    told = answer(p, q, domain)
    assert told.result.norm == {"input": p, "output": q}
    assert told.result.upper.value >= steepest(p, q, 5.0 if domain == "all" else 0.5) * (1.0 - 1e-9)
    document = told.certificate.fields()
    found = checked(document)
    assert found["valid"], found["reasons"]
    assert found["check"] == "independent"
    assert document["bound"] <= told.result.upper.value * (1.0 + 1e-5)


@pytest.mark.parametrize(("p", "q"), [("inf", "2"), ("2", "inf"), ("2", "1"), ("1", "2")])
def test_pairs_with_programs_of_their_own_need_no_other_norm(p: str, q: str) -> None:
    """They are well below the 2-norm's constant times what vectors gain."""
    assert answer(p, q).certificate.through == {"input": p, "output": q}
    by_two = analyze(model()[1], {"norm": "2", "methods": ["lipsdp"]}).result.upper
    more = {("inf", "2"): 5**0.5, ("2", "1"): 3**0.5}.get((p, q), 1.0)
    assert by_two is not None
    assert by_two.value is not None
    assert answer(p, q).result.upper.value < 0.97 * more * by_two.value


@pytest.mark.parametrize(("p", "q"), [("inf", "1"), ("2", "1"), ("1", "inf")])
def test_witnesses_attain_what_they_say(p: str, q: str) -> None:
    fields = {
        "norm": {"input": p, "output": q},
        "methods": ["gradient"],
        "options": {"gradient": {"steps": 20, "scouts": 0}},
    }
    told = analyze(model()[1], {**fields, "budget_s": 20})
    pair = np.load(io.BytesIO(told.witness))
    x, y = (next(pair[name] for name in pair.files if name.startswith(end)) for end in ("x.", "y."))
    net, _ = model()
    with torch.no_grad():
        rise = (net(torch.from_numpy(x)) - net(torch.from_numpy(y))).numpy().ravel()
    slope = np.linalg.norm(rise, float(q)) / np.linalg.norm((x - y).ravel(), float(p))
    assert told.result.lower is not None
    assert told.result.lower.value == pytest.approx(slope, rel=1e-6)
    assert told.result.lower.value >= 0.9 * steepest(p, q, 5.0)
    assert told.result.lower.value <= answer(p, q).result.upper.value


@pytest.mark.parametrize(
    "change",
    [
        {"through": None},
        {"through": {"input": "2", "output": "2"}},
        {"through": {"input": "1", "output": "inf"}},
        {"through": {"input": "2", "output": "inf"}},
        {"through": {"input": "inf", "output": "3"}},
    ],
)
def test_a_certificate_in_other_norms_proves_nothing(change: dict[str, Any]) -> None:
    document = answer("inf", "2").certificate.fields()
    if change["through"] is None:
        del document["through"]
        change = {}
    assert not checked(document | change)["valid"]


def test_a_function_of_one_norm_has_no_through() -> None:
    document = answer("inf", "2").certificate.fields()
    document["function"]["norm"] = "inf"
    assert not checked(document)["valid"]


def test_two_equal_norms_are_one_and_some_questions_are_about_one() -> None:
    same = Question.model_validate({"norm": {"input": "inf", "output": "inf"}})
    assert same.canonical() == Question.model_validate({"norm": "inf"}).canonical()
    for more in ({"certify": True}, {"target": {"kind": "margins"}}):
        fields = {"norm": {"input": "inf", "output": "2"}, **more}
        with pytest.raises(ValidationError, match="about one norm"):
            JobRequest.model_validate({"model": "0" * 64, **fields})
        with pytest.raises(InvalidRequest, match="about one norm"):
            Request.parse(fields)
