"""`GET /v1/models/{model_id}/graph`: the graph itself with the real library, waiting and refusals with the fake one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import torch
from torch import nn

from app.errors import UnknownModel
from app.jobs.record import READINGS, Kind
from app.jobs.service import JobService
from app.jobs.states import CLAIM
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.line import Wanted
from app.worker.warmup import tiny_model
from tests.conftest import RunningService, eventually, fake_model
from tests.jobs.rows import MODEL, add_model
from tests.jobs.test_tenants import Nobody
from tests.lipschitz.ingest.test_torch_formats import export, script
from tests.lipschitz.test_graph import Bessel, Branch, Norm


def ask(service: RunningService, model: bytes, **query: Any) -> httpx.Response:
    return service.client.get(f"/v1/models/{service.upload(model)}/graph", params=query)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def test_a_graph_has_origins_and_rules(library_service: RunningService) -> None:
    """tests/lipschitz/test_graph.py has the other formats."""
    onnx = ask(library_service, tiny_model()).json()
    assert onnx["model"] == library_service.upload(tiny_model())
    rules = [node["rule"] for node in onnx["nodes"] if not node["constant"]]
    assert rules == [None, "matrix product", "nondecreasing 1-Lipschitz function", "matrix product"]


@pytest.mark.slow  # a program's child is killed after each question, and the next takes seconds
def test_programs_are_shown(library_service: RunningService) -> None:
    norm = ask(library_service, export(Norm(), torch.zeros(1, 3))).json()["nodes"]
    assert "norm" in {node["origin"]["name"] for node in norm if node["origin"]}
    bessel = ask(library_service, export(Bessel(), torch.zeros(1, 2)))
    assert bessel.status_code == 200
    rules = {node["op"]: node["rule"] for node in bessel.json()["nodes"]}
    assert rules["aten.special_bessel_j0.default"] is None
    assert rules["aten.add.Tensor"] == "sum"


@pytest.mark.slow
def test_open_shapes_are_asked_for(library_service: RunningService) -> None:
    data = script(nn.Tanh())  # no weight tells its sizes
    assert problem(ask(library_service, data)) == (422, "invalid-inputs")
    for inputs in ([[2, 3]], {"input": [2, 3]}):
        told = ask(library_service, data, inputs=json.dumps(inputs)).json()
        assert told["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [2, 3], "node": 0}]
        assert told["outputs"][0]["shape"] == [2, 3]
    assert problem(ask(library_service, script(Norm()), inputs="[[2, 4]]")) == (422, "invalid-inputs")


def test_what_does_not_capture_is_a_problem(library_service: RunningService) -> None:
    answer = ask(library_service, script(Branch()), inputs="[[1, 2]]")
    assert problem(answer) == (422, "data-dependent-control-flow")
    assert answer.json()["instance"].endswith("/graph")


def test_a_graph_takes_and_leaves_nothing(service: RunningService) -> None:
    """It is no analysis: neither listed nor counted, and the model can go at once."""
    model = service.upload(fake_model(test="a graph of its own"))
    assert service.client.get(f"/v1/models/{model}/graph").status_code == 200
    assert service.client.get("/v1/jobs", params={"model": model}).json()["jobs"] == []
    assert service.client.delete(f"/v1/models/{model}").status_code == 204
    assert problem(service.client.get(f"/v1/models/{model}/graph")) == (404, "unknown-model")


@pytest.mark.parametrize("inputs", ["", "[[", "7", "[7]", '[["a"]]', "[[0]]", '{"x": 1}', "[[NaN]]", "[[-1, 2]]"])
def test_inputs_that_are_none_are_refused(service: RunningService, inputs: str) -> None:
    answer = ask(service, fake_model(test="graph"), inputs=inputs)
    assert problem(answer) == (422, "invalid-request")
    assert answer.json()["errors"][0]["pointer"].startswith("#/inputs")


def test_a_childs_end_is_the_answer(service: RunningService) -> None:
    crash = ask(service, fake_model(graph={"do": "crash", "signal": "SIGSEGV"}))
    assert problem(crash) == (500, "worker-crashed")
    assert "SIGSEGV" in crash.json()["detail"]
    assert problem(ask(service, fake_model(graph={"do": "exhaust"}))) == (500, "out-of-memory")
    assert ask(service, fake_model(test="after")).status_code == 200


@pytest.mark.slow
def test_waiting_has_an_end(start_service: Callable[..., RunningService]) -> None:
    """One that runs is stopped at its limit; one that does not come to run in time is given up, job and all."""
    service = start_service(inspect_timeout_s=1)
    model = service.upload(fake_model(graph={"do": "sleep", "seconds": 67}))
    seen: list[httpx.Response] = []

    def graph() -> None:
        seen.append(httpx.get(f"{service.url}/v1/models/{model}/graph", timeout=60))

    threads = [threading.Thread(target=graph) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [problem(answer) for answer in seen]
    assert set(ends) == {(504, "time-limit"), (503, "busy")}
    assert all(answer.headers["Retry-After"] for answer in seen if answer.status_code == 503)
    eventually(lambda: service.client.delete(f"/v1/models/{model}").status_code, lambda status: status == 204)


@pytest.mark.slow
def test_too_many_are_refused(start_service: Callable[..., RunningService]) -> None:
    """One runs, one may wait; an analysis has its own place."""
    service = start_service(max_queued_per_owner=1)
    model = service.upload(fake_model(graph={"do": "sleep", "seconds": 1.5}))
    url, seen = f"{service.url}/v1/models/{model}/graph", list[int]()
    threads = [threading.Thread(target=lambda: seen.append(httpx.get(url, timeout=60).status_code)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert service.client.post("/v1/jobs", json={"model": model}, headers={"Prefer": "wait=10"}).status_code == 200
    for thread in threads:
        thread.join()
    assert set(seen) == {200, 429}


def test_uploads_go_first(database: Database) -> None:
    repository = JobRepository(database, 1000)
    jobs = JobService(repository, Nobody(), Watch(), Settings())
    with pytest.raises(UnknownModel):
        jobs.submit_graph("", MODEL, {"inputs": None}, 1)
    add_model(database)
    jobs.submit_graph("", MODEL, {"inputs": None}, 1)
    jobs.submit_inspection("", MODEL, "b", 1)
    claims = [repository.claim(CLAIM, Wanted(READINGS), "me", 30, worker="w", device="d") for _ in READINGS]
    assert [row and row["kind"] for row in claims] == [Kind.INSPECT, Kind.GRAPH]
