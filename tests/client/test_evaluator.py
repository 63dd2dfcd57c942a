"""The evaluator of MLflow: what it asks, the metrics of canned answers, a real MLflow server with a real service."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.client.test_client_package import run
from tests.conftest import ROOT, RunningService
from tests.examples.test_gate import DIGEST, JOB, RESULT
from tests.registries.mlflow_server import BORROWING, mlflow_python, running_mlflow, torch_site

CURVE = [[0.0, 0.9], [0.1, 0.6], [0.3, 0.2]]
RADII = {
    "rows": 10, "evaluated": 10, "right": 9, "mean": 0.15, "median": 0.1, "certified": CURVE, "ceiling": [],
    "methods": {}, "classes": [], "worst": [],
}  # fmt: skip
BASELINE = {"upper": 2.0, "lower": 1.5, "limit": 2.2}
LOWER = {"value": 0.5, "method": "gradient", "guarantee": "witnessed"}


@pytest.fixture
def evaluation(installed: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The installed client's module, for this test alone."""
    monkeypatch.syspath_prepend(installed)
    return import_module("lipserve_client.evaluation")


def job_of(evaluation: ModuleType, **result: Any) -> Any:
    return evaluation.Job.of(JOB | {"result": RESULT | result})


def test_the_entry_point_resolves_without_mlflow(installed: Path) -> None:
    program = (
        "from importlib.metadata import entry_points; import sys\n"
        "[point] = entry_points(group='mlflow.model_evaluator', name='lipserve')\n"
        "evaluator = point.load()()\n"
        "assert 'mlflow' not in sys.modules and 'numpy' not in sys.modules\n"
        "print([evaluator.can_evaluate(model_type='classifier', evaluator_config=c) for c in ({}, {'norm': '2'})])\n"
        "print(evaluator.can_evaluate(model_type='text', evaluator_config={'log_model_explainability': False}))"
    )
    done = run(installed, "-c", program)
    assert done.stdout.split("\n")[:2] == ["[False, True]", "False"], done.stderr
    assert "left out" in done.stderr
    with_service = run(installed, "-c", program, url="http://127.0.0.1:9")
    assert with_service.stdout.split("\n")[:2] == ["[True, True]", "True"], with_service.stderr


def test_metrics_of_an_answer(evaluation: ModuleType) -> None:
    job = job_of(evaluation, lower=LOWER, ratio=2.0, radii=RADII, baseline=BASELINE)
    assert evaluation.metrics_of(job.result, 0.1) == {
        "lipschitz_upper": 1.0, "lipschitz_lower": 0.5, "lipschitz_ratio": 2.0, "lipschitz_certified_share": 0.6,
        "lipschitz_mean_radius": 0.15, "lipschitz_median_radius": 0.1,
        "lipschitz_baseline_upper": 2.0, "lipschitz_baseline_lower": 1.5,
    }  # fmt: skip
    assert evaluation.metrics_of(job_of(evaluation).result, 0.1) == {"lipschitz_upper": 1.0}
    noisy = job_of(evaluation, offset={"value": 0.5, "guarantee": "certified", "steps": []})
    assert evaluation.metrics_of(noisy.result, 0.1) == {"lipschitz_upper": 1.0, "lipschitz_offset": 0.5}


@pytest.mark.parametrize(("radius", "share"), [(0.05, 0.6), (0.1, 0.6), (0.2, 0.2), (0.5, 0.2)])
def test_a_thinned_curve_never_gives_too_much(evaluation: ModuleType, radius: float, share: float) -> None:
    """Between two steps some rows may have fallen that the curve does not list."""
    assert evaluation.certified_share(job_of(evaluation, radii=RADII).result.radii, radius) == share
    asked = RADII | {"asked": {"radius": radius, "certified": 7, "fallen": 0}}
    assert evaluation.certified_share(job_of(evaluation, radii=asked).result.radii, radius) == 0.7


def test_the_worst_verdict_stands_and_no_gate_goes_unanswered(evaluation: ModuleType) -> None:
    plan = evaluation.Plan.of({"url": "u", "gate": {"max_upper": 2}}, {})
    jobs = {verdict: job_of(evaluation, verdict=verdict) for verdict in ("pass", "inconclusive", "fail", None)}
    assert evaluation.verdict_of([jobs["pass"]], plan) == "pass"
    assert evaluation.verdict_of([jobs["pass"], jobs["inconclusive"]], plan) == "inconclusive"
    assert evaluation.verdict_of([jobs["inconclusive"], jobs["fail"]], plan) == "fail"
    with pytest.raises(ValueError, match="no verdict"):
        evaluation.verdict_of([jobs[None]], plan)
    failed = evaluation.Job.of(JOB | {"result": None, "status": "failed", "error": {"detail": "why not"}})
    with pytest.raises(ValueError, match="why not"):
        evaluation.verdict_of([failed], evaluation.Plan.of({"url": "u"}, {}))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"url": "u", "gates": {"max_upper": 1}}, "unknown key 'gates'"),
        ({"gate": {"max_upper": 1}}, "no service is named"),
        ({"url": "u", "gate": {"max_difference": 1}}, "needs `baseline`"),
        ({"url": "u", "gate": {"max_increase": 1.1}}, "needs `baseline`"),
    ],
)
def test_a_configuration_that_is_none_is_no_pass(evaluation: ModuleType, config: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        evaluation.Plan.of(config, {})


def test_each_limit_goes_to_its_kind_of_job(evaluation: ModuleType) -> None:
    gate = {"max_upper": 3, "max_increase": 1.1, "max_difference": 0.1}
    config = {"norm": "inf", "gate": gate, "baseline": "models:/m@production", "radius": 0.1, "target": {"kind": "all"}}
    plan = evaluation.Plan.of(config, {"LIPSERVE_URL": "u", "LIPSERVE_KEY": "k"})
    assert (plan.url, plan.key, plan.baseline) == ("u", "k", "models:/m@production")
    asked = plan.analysis(DIGEST, is_classifier=False)
    assert asked["gate"] == {"max_upper": 3, "max_increase": 1.1, "baseline": DIGEST}
    assert plan.comparison() == {"norm": "inf", "radius": 0.1, "gate": {"max_difference": 0.1}}
    assert evaluation.Plan.of({"url": "u"}, {}).analysis(None, is_classifier=True) == {"certify": True}


@pytest.mark.slow
def test_a_real_server_and_a_real_service(installed: Path, library_service: RunningService, tmp_path: Path) -> None:
    """Version 2 may follow the one in production; version 3 is twice as steep, and MLflow raises."""
    python = mlflow_python()
    with running_mlflow(tmp_path, python) as server:
        command = [python, "-c", BORROWING.format(site=torch_site()), str(ROOT / "examples" / "mlflow_evaluate.py")]
        own = {"PYTHONPATH": str(installed), "LIPSERVE_URL": library_service.url, "MLFLOW_TRACKING_URI": server.uri}
        environment = os.environ | own | {"GIT_PYTHON_REFRESH": "quiet"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.strip().splitlines()[-1])
    good, steep = told["1.01"], told["2.0"]
    assert good["raised"] is None
    assert "does not pass: fail" in steep["raised"]
    assert (good["metrics"]["lipschitz_gate_passed"], steep["metrics"]["lipschitz_gate_passed"]) == (1.0, 0.0)
    for metrics in (good["metrics"], steep["metrics"]):
        assert 0 < metrics["lipschitz_lower"] <= metrics["lipschitz_upper"]
        assert 0 < metrics["lipschitz_certified_share"] <= 1
        assert 0 < metrics["lipschitz_difference_lower"] <= metrics["lipschitz_difference_upper"]
    names = {f"lipserve/{name}" for name in ("analysis.json", "analysis.html", "comparison.json", "comparison.html")}
    assert set(good["artifacts"]) == set(steep["artifacts"]) == names
