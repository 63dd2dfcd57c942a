"""The report of a job, over HTTP, without a browser."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from app.contract.result import LayerView
from app.pages.charts.scales import counts
from app.pages.report import _layers, parts_of
from app.pages.words import is_clearly_above
from tests.conftest import RunningService, eventually, fake_model
from tests.pages.conftest import answered
from tests.pages.html import Page
from tests.pages.results import HOSTILE, layer, result, sample

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OUTSIDE = re.compile(r"(?:https?:)?//[\w.-]+")
OURS = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")


def report(service: RunningService, job: dict[str, Any]) -> Page:
    answer = service.client.get(job["urls"]["report"], headers=BROWSER)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def picture(service: RunningService, job: dict[str, Any]) -> str:
    answer = service.client.get(f"{job['urls']['self']}/report.svg")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(answer.text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [element.tag for element in root.iter() if element.tag.endswith(("script", "foreignObject", "image"))]
    return " ".join(" ".join(root.itertext()).split())


def test_a_report_says_what_was_found(pages: RunningService) -> None:
    job = answered(pages, result(verdict="inconclusive"), gate={"max_upper": 12})
    page = report(pages, job)
    assert "m.onnx" in page.text
    for words in ("Gate: Inconclusive", "All that is known: 8 ≤ L ≤ 16", "witnessed by gradient", "certified by exact"):
        assert words in page.text
    assert "no pairs in fc" in page.text
    assert [a.get("value") for a in page.named("data")][:2] == ["8.0", "16.0"]
    assert "Convergence: exact" in page.text
    described = [a["aria-label"] or "" for a in page.named("div") if a.get("role") == "img"]
    assert len(described) == 2 * 4  # bracket, convergence, shares and growth, for wide and narrow screens
    assert "8 ≤ L ≤ 16" in described[0]


def sensitivities(names: list[str], bounds: list[float]) -> dict[str, Any]:
    ranking = [
        {"index": i, "name": name, "bound": bound, "attained": bound / 2, "output": "y"}
        for i, (name, bound) in enumerate(zip(names, bounds, strict=True))
    ]
    rows = {"lower": [[0.0] * len(names)], "upper": [bounds], "sign": [["+"] * len(names)]}
    return {
        "input_names": names,
        "output_names": ["y"],
        "attained_lower": [[0.0] * len(names)],
        "attained_upper": [[bound / 2 for bound in bounds]],
        "counts": {"+": len(names)},
        "ranking": ranking,
        "violations": [{"limit": "monotone", "input": names[0], "output": "y", "value": 0.25, "point": [0.5]}],
    } | rows


def test_a_report_tells_what_each_input_does(pages: RunningService) -> None:
    found = sensitivities(["income", HOSTILE, "age", "debt"], [4.0, 3.0, 2.0, 1.0])
    job = answered(pages, result(sensitivities=found, verdict="fail"), gate={"monotone": {"income": "-"}})
    page = report(pages, job)
    for words in (
        "An input change of 0.01 moves the output by at most 0.161; a pair reaches 0.08, both in the 2-norm.",
        "Of 4 derivatives 4 never negative.",
        "Show 4 inputs",
        "never lowers an output",
        "No output rises as income grows. At one point the derivative of y is 0.25.",
    ):
        assert words in page.text
    described = [a["aria-label"] or "" for a in page.named("div") if a.get("role") == "img"]
    assert sum("largest derivatives by input" in one for one in described) == 2
    assert not any("picture over the input" in one for one in described)


def test_an_image_has_its_bounds_as_a_picture(pages: RunningService) -> None:
    names = [f"x[{i}]" for i in range(64)]
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 1, 8, 8]}]
    shown = result(
        sensitivities=sensitivities(names, [float(i) for i in range(64)]), model={"inputs": inputs, "outputs": []}
    )
    page = report(pages, answered(pages, shown))
    described = [a["aria-label"] or "" for a in page.named("div") if a.get("role") == "img"]
    assert sum("picture over the input" in one for one in described) == 2


def test_a_picture_shows_the_bracket(pages: RunningService) -> None:
    shown = picture(pages, answered(pages, result(verdict="fail"), "net.onnx", gate={"max_upper": 4}))
    for words in (
        "net.onnx",
        "8 ≤ L ≤ 16",
        "gate 4",
        "autolip",
        "certified upper bound",
        "gate fail: Two inputs attain 8.",
    ):
        assert words in shown


def test_the_picture_is_also_what_a_client_of_pictures_gets(pages: RunningService) -> None:
    job = answered(pages, result())
    answer = pages.client.get(job["urls"]["report"], headers={"Accept": "image/svg+xml"})
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.text == pages.client.get(f"{job['urls']['self']}/report.svg").text


@pytest.mark.parametrize("path", ["report", "report.svg"])
def test_names_from_models_are_text(pages: RunningService, path: str) -> None:
    found = result(HOSTILE, warnings=[HOSTILE], verdict="pass", certificates=[sample(0, 0.5), sample(1, None)])
    job = answered(pages, found, f"{HOSTILE[:-8].replace('/', '')}.onnx", metadata={HOSTILE: HOSTILE})
    answer = pages.client.get(f"{job['urls']['self']}/{path}", headers=BROWSER)
    page = Page(answer.text)
    own = [a for a in page.named("script") if a.get("nonce")]
    assert len(page.named("script")) == len(own) == (1 if path == "report" else 0)
    assert page.named("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "alert('x')" in page.text or "alert('x'" in page.text
    assert "{{7*7}}" in page.text or path == "report.svg"
    assert not {"\u202e", "\x00"} & set(answer.text)
    if path == "report.svg":
        ElementTree.fromstring(answer.text)


def test_a_page_is_self_contained_and_its_policy_says_so(pages: RunningService) -> None:
    job = answered(pages, result())
    for url in ("/", job["urls"]["report"]):
        answer = pages.client.get(url, headers=BROWSER)
        policy = answer.headers["content-security-policy"]
        page = Page(answer.text)
        nonces = {a.get("nonce") for a in page.named("script") + page.named("style")}
        assert len(nonces) == 1
        assert f"script-src 'nonce-{nonces.pop()}'" in policy
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert not [name for _, attributes in page.elements for name in attributes if name in ("style", "src")]
        ours = (*OURS, pages.url)
        assert [found for found in OUTSIDE.findall(answer.text) if not any(found in our for our in ours)] == []
        again = pages.client.get(url).headers["content-security-policy"]
        assert policy != again


def test_the_picture_allows_its_own_style_only(pages: RunningService) -> None:
    answer = pages.client.get(f"{answered(pages, result())['urls']['self']}/report.svg")
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; sandbox", answer.headers["content-security-policy"]
    )


def test_jobs_that_are_not_over_are_followed(pages: RunningService) -> None:
    first = pages.analyze(fake_model(analyze={"do": "sleep", "seconds": 60}), wait=None).json()
    second = pages.analyze(fake_model(analyze={"do": "sleep", "seconds": 61}), wait=None).json()
    url = first["urls"]["self"]
    eventually(lambda: pages.client.get(url).json()["progress"], lambda progress: progress is not None)
    for job, word in ((first, "Running"), (second, "Waiting")):
        page = report(pages, job)
        assert word in page.text
        assert {"http-equiv": "refresh", "content": "5"} in page.named("meta")
        assert [a["data-events"] for a in page.named("section") if "data-events" in a] == [job["urls"]["events"]]
        assert word.lower() in picture(pages, job)
    assert "Method: fake" in report(pages, first).text
    for job, left in ((second, "canceled"), (first, "canceled")):
        pages.client.post(job["urls"]["cancel"])
        assert pages.finished(job["id"])["status"] == left
        page = report(pages, job)
        assert "stopped on request" in page.text
        assert not [a for a in page.named("meta") if "http-equiv" in a]
        assert "canceled" in picture(pages, job)


@pytest.mark.parametrize(
    ("slug", "title", "todo"),
    [
        ("unsupported-operator", "The graph holds an operator without a rule", "Replace the operator that is named"),
        ("not-globally-lipschitz", "No finite constant was found on this domain", "Ask on a bounded domain"),
    ],
)
def test_a_failure_is_explained(pages: RunningService, slug: str, title: str, todo: str) -> None:
    step = {"do": "refuse", "slug": slug, "detail": f"Foo <b>{slug}</b>"}
    job = pages.analyze(fake_model(analyze=step)).json()
    page = report(pages, job)
    for words in ("Failed", title, f"Foo <b>{slug}</b>", todo):
        assert words in page.text
    assert page.named("b") == []
    assert f"Foo <b>{slug}</b>" in picture(pages, job)


def test_a_job_at_its_time_limit_is_explained(pages: RunningService) -> None:
    job = pages.analyze(fake_model(analyze={"do": "sleep", "seconds": 60}), timeout_s=0.3).json()
    page = report(pages, job)
    assert "Timed out" in page.text
    assert "Raise timeout_s" in page.text.replace("`", "")


def test_samples_have_a_curve_a_table_and_a_sum(pages: RunningService) -> None:
    samples = [sample(0, 0.25), sample(1, 0.75), sample(2, None), sample(3, 0.9, prediction=4)]
    found = result(certificates=samples, verdict="pass")
    page = report(pages, answered(pages, found, gate={"min_certified_share": 0.5, "radius": 0.5}))
    assert "3 of 4 samples are rightly predicted; half of these are certified up to 0.75" in page.text
    assert "2 of 4 are (50.0 %); 3 are rightly predicted." in page.text
    assert "wrong" in page.text


def test_long_networks_are_folded(pages: RunningService) -> None:
    short, long = (report(pages, answered(pages, result(depth=depth))) for depth in (20, 300))
    assert "Show all 300 layers" in long.text
    assert "Show all" not in short.text
    assert len([a for a in long.named("td") if a.get("class") == "rail"]) == 300


def test_a_graph_with_branches_is_drawn_with_lanes(pages: RunningService) -> None:
    sources = [[-1], [0], [1, 0], [2]]
    rows = [layer(index, f"block{index}", 0.25, sources=of_row) for index, of_row in enumerate(sources)]
    page = report(pages, answered(pages, result() | {"layers": rows}))
    assert "joins 2" in page.text
    rails = [a["width"] for a in page.named("svg") if a.get("height") == "40"]
    assert rails == ["42"] * 4  # two lanes


def test_a_result_without_bounds_is_shown(pages: RunningService) -> None:
    job = pages.analyze(fake_model(test="bare")).json()
    assert "2" in report(pages, job).text
    job = answered(pages, result(upper=None, lower=None, ratio=None, estimates=[], layers=[]))
    assert "no certified bound" in report(pages, job).text
    picture(pages, job)


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-300, 1.0, 1e300, 1.7e308, None])
def test_extreme_values_are_drawn(pages: RunningService, value: float | None) -> None:
    end = {"value": value, "method": "autolip"}
    rows = [layer(index, "x", None, cumulative=value, lipschitz=value) for index in range(4)]
    estimates = [result()["estimates"][0] | {"value": value}]
    found = result(upper=end, lower=end, ratio=1.0, estimates=estimates, layers=rows)
    job = answered(pages, found)
    assert "NaN" not in pages.client.get(job["urls"]["report"]).text
    picture(pages, job)


def test_a_deleted_model_leaves_the_report(pages: RunningService) -> None:
    job = answered(pages, result(), "gone.onnx", seed=77)
    others = pages.client.get("/v1/jobs", params={"model": job["model"]}).json()["jobs"]
    assert [other["id"] for other in others if other["status"] in ("queued", "running")] == []
    assert pages.client.delete(f"/v1/models/{job['model']}").status_code == 204
    assert f"model {job['model'][:12]}" in report(pages, job).text


@pytest.mark.parametrize("path", ["/v1/jobs/none/report", "/v1/jobs/none/report.svg"])
def test_unknown_jobs_are_a_page_for_people_and_a_problem_for_programs(pages: RunningService, path: str) -> None:
    answer = pages.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["type"] == "urn:lipserve:problem:unknown-job"
    answer = pages.client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "No such job" in Page(answer.text).text


@pytest.mark.slow
def test_an_expired_job_is_gone(start_service: Any) -> None:
    service = start_service(worker_module="tests.pages.told_worker", retention_s=1, sweep_s=0.1)
    job = answered(service, result())
    eventually(lambda: service.client.get(job["urls"]["self"]), lambda a: a.status_code == 410)
    answer = service.client.get(job["urls"]["report"], headers=BROWSER)  # drawing one of before would take long
    assert "no longer kept" in Page(answer.text).text
    assert service.client.get(f"{job['urls']['self']}/report.svg").json()["status"] == 410


def test_the_certificate_and_how_to_check_it(pages: RunningService) -> None:
    certificate = {"method": "autolip", "bound": 32.0, "pieces": [{}]}
    model = pages.upload(fake_model(result=result(), certificate=certificate), "it's a $(model).onnx")
    job = pages.client.post("/v1/jobs", json={"model": model}, headers={"Prefer": "wait=30"}).json()
    page = report(pages, job)
    assert "The certificate proves L ≤ 32 by autolip, in 1 piece." in page.text
    assert "has no certificate to take away" in page.text
    assert f"curl -o certificate.json {pages.url}{job['urls']['certificate']}" in page.text
    assert """lipserve verify 'it'"'"'s a $(model).onnx' certificate.json""" in page.text


def test_drawing_keeps_the_numerical_libraries_out(pages: RunningService) -> None:
    report(pages, answered(pages, result()))
    with open(f"/proc/{pages.pid}/maps") as maps:
        mapped = maps.read()
    assert "vl_convert" in mapped
    assert not [name for name in ("libtorch", "_multiarray_umath", "onnx_cpp2py") if name in mapped]


def test_the_hot_spot_near_a_bound_of_one_is_the_layer_that_grows() -> None:
    factors = enumerate([8.0, 0.125])
    rows = [LayerView.model_validate(layer(i, f"fc{i}", 0.5, factor=factor)) for i, factor in factors]
    assert [row.heat for row in _layers(rows)] == [1.0, 0.0]


def test_results_of_before_have_shares_in_bounds() -> None:
    rows = [LayerView.model_validate(row) for row in (layer(0, "a", -33.82), layer(1, "b", 34.82))]
    assert [row.share for row in parts_of(rows)] == pytest.approx([33.82 / 68.64, 34.82 / 68.64])


def test_two_roundings_of_a_bound_are_the_same() -> None:
    assert not is_clearly_above(11.634355134114875, 11.634355134114845)
    assert is_clearly_above(11.7, 11.6)


@pytest.mark.parametrize(("last", "ticks"), [(2, [0, 1, 2]), (299, list(range(0, 300, 50))), (0, [0])])
def test_ticks_of_layers_are_whole(last: int, ticks: list[int]) -> None:
    assert counts(last, 12) == ticks


def test_a_cached_answer_says_when_it_was_computed(pages: RunningService) -> None:
    answered(pages, result("cached"))
    again = answered(pages, result("cached"))
    assert again["cached"]
    page = pages.client.get(again["urls"]["report"], headers=BROWSER).text
    assert "Answered from the store; computed in" in page
