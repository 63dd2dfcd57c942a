"""The pages in a real browser: what people do there, on which screens, and what the browser loads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningService, fake_model
from tests.effort import sampled
from tests.pages.conftest import answered
from tests.pages.results import HOSTILE, layer, result, sample

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WIDTHS = (320, 1100)
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any, pages: RunningService) -> Iterator[Open]:
    """Opens a page of the service; the test fails when anything is loaded from elsewhere or the console complains."""
    contexts, faults = [], []

    def open_page(path: str = "/", width: int = 1100, refused: int = 0, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, base_url=pages.url, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("request", lambda asked: elsewhere(asked.url))
        page.on("console", lambda told: complaint(told, refused))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path)
        return page

    def complaint(told: Any, refused: int) -> None:
        if told.type in ("error", "warning") and f"with a status of {refused}" not in told.text:
            faults.append(told.text)

    def elsewhere(url: str) -> None:
        if not url.startswith((pages.url, "data:")):
            faults.append(f"loads {url}")

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def full(pages: RunningService) -> dict[str, Any]:
    """A job whose report has every section, with a hostile name in each."""
    sources = [[-1], [0], [1, 0], *([row] for row in range(2, 119))]
    rows = [layer(i, f"{HOSTILE}{i}", (-1) ** i / (i + 1), sources=of_row) for i, of_row in enumerate(sources)]
    samples = [sample(i, i / 50, prediction=1 + (i % 9 == 0)) for i in range(50)]
    found = result(HOSTILE, verdict="inconclusive", warnings=[HOSTILE], certificates=samples) | {"layers": rows}
    gate = {"max_upper": 12.0, "min_certified_share": 0.5, "radius": 0.3}
    return answered(pages, found, "a-rather-long-name-of-a-model-without-any-space.onnx", gate=gate)


def told_model(tmp_path: Path, **told: Any) -> Path:
    file = tmp_path / "mine.onnx"
    file.write_bytes(fake_model(**told))
    return file


def violations(page: Any) -> list[str]:
    """What axe-core calls serious or critical."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_a_picked_file_leads_to_its_report(visit: Open, tmp_path: Path) -> None:
    page = visit()
    page.get_by_label("Model file").set_input_files(told_model(tmp_path, result=result(), test="picked"))
    page.get_by_label("Input shapes").fill("1, 2")
    page.get_by_label("Norm", exact=True).select_option("inf")
    page.get_by_label("Gate").fill("20")
    page.locator("summary", has_text="Methods").click()
    page.get_by_label("autolip certified").check()
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_url("**/report")
    page.get_by_role("heading", name="The bracket").wait_for()
    assert "maximum norm" in page.inner_text(".title")
    assert page.get_by_role("heading", level=1).inner_text() == "mine.onnx"
    asked = page.request.get(page.url.removesuffix("/report")).json()["request"]
    assert (asked["methods"], asked["inputs"], asked["gate"]["max_upper"]) == (["autolip"], [[1, 2]], 20)


def test_a_dropped_file_is_taken(visit: Open, pages: RunningService) -> None:
    page = visit()
    data = list(fake_model(result=result(), test="dropped"))
    make = """data => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], "dropped.onnx"));
        return transfer;
    }"""
    transfer = page.evaluate_handle(make, data)
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    assert "over" in page.get_attribute("#drop", "class")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    assert page.evaluate("document.getElementById('file').files[0].name") == "dropped.onnx"
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_url("**/report")
    page.get_by_role("heading", name="dropped.onnx").wait_for()


def test_the_keyboard_is_enough(visit: Open, tmp_path: Path) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    with page.expect_file_chooser() as chooser:
        for _ in range(10):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "file":
                break
        page.keyboard.press("Enter")
    chooser.value.set_files(told_model(tmp_path, result=result(depth=60), test="keyboard"))
    page.keyboard.press("Tab")
    page.keyboard.type("1,2")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    page.keyboard.press("Enter")
    page.wait_for_url("**/report")
    page.get_by_role("heading", name="The bracket").wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Table of layers").wait_for()


def test_faults_are_told_at_their_fields(visit: Open, tmp_path: Path) -> None:
    page = visit(refused=422)
    page.get_by_label("Model file").set_input_files(told_model(tmp_path, result=result()))
    page.get_by_label("Input shapes").fill("0, 3")
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_selector("#inputs[aria-invalid=true]")
    assert "#/inputs" in page.inner_text("#inputs-fault")
    assert page.evaluate("document.activeElement.id") == "inputs"
    assert "does not fit the contract" in page.inner_text("#fault")


def test_a_running_job_is_followed_to_its_end(visit: Open, pages: RunningService) -> None:
    reports = [{"method": "exact", "phase": f"step {k}", "upper": 20.0 - k, "lower": 1.0 + k} for k in range(12)]
    reports = [report | {"done": k, "total": 12} for k, report in enumerate(reports)]
    job = pages.analyze(fake_model(result=result(), reports=reports, every=0.15), wait=None).json()
    page = visit(job["urls"]["report"])
    playwright.expect(page.locator("#phase")).to_have_text(re.compile("exact: step"))
    playwright.expect(page.locator("#lower")).to_have_text(re.compile(r"[5-9]|1\d"))
    assert float(page.inner_text("#upper")) <= 16
    assert page.get_attribute("#bar", "max") == "12"
    page.get_by_role("heading", name="The bracket").wait_for()
    assert page.query_selector("#live") is None


def test_a_running_job_is_canceled_from_its_page(visit: Open, pages: RunningService) -> None:
    job = pages.analyze(fake_model(analyze={"do": "sleep", "seconds": 60}), wait=None).json()
    page = visit(job["urls"]["report"])
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_text("stopped on request").wait_for()
    assert page.inner_text("#status") == "Canceled"


def test_recent_jobs_lead_to_their_reports(visit: Open, full: dict[str, Any]) -> None:
    page = visit()
    page.get_by_role("table").get_by_role("link").first.wait_for()
    assert page.locator(f'#job-rows a[href="{full["urls"]["report"]}"]').count() == 1
    assert page.inner_text("#health") == "Ready."
    assert "confinement" in page.inner_text("#workers")


PLACES = ["start", "report", "failed", "unknown", "docs"]


@pytest.mark.parametrize(("scheme", "width", "place"), sampled(["light", "dark"], WIDTHS, PLACES, every=7))
def test_pages_fit_and_can_be_used_by_everybody(
    visit: Open, pages: RunningService, full: dict[str, Any], place: str, width: int, scheme: str
) -> None:
    urls = {"start": "/", "docs": "/docs", "report": full["urls"]["report"], "unknown": "/v1/jobs/none/report"}
    page = visit(urls.get(place) or failed(pages), width, refused=404, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('summary').forEach(summary => summary.click())")
    page.wait_for_load_state("networkidle" if place == "start" else "load")
    assert page.evaluate(WIDER) <= 0
    assert violations(page) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == (scheme == "dark")


def failed(pages: RunningService) -> str:
    step = {"do": "refuse", "slug": "unsupported-operator", "detail": f"{'very.' * 40}long {HOSTILE}"}
    return pages.analyze(fake_model(analyze=step)).json()["urls"]["report"]


def test_charts_turn_dark_with_the_page(visit: Open, full: dict[str, Any]) -> None:
    colors = set()
    for scheme in ("light", "dark"):
        page = visit(full["urls"]["report"], color_scheme=scheme)
        label = page.locator(".chart.wide text").first
        colors.add(label.evaluate("node => getComputedStyle(node).fill"))
    assert len(colors) == 2


def test_only_the_chart_that_fits_is_shown(visit: Open, full: dict[str, Any]) -> None:
    for width, shown in ((320, ".narrow"), (1100, ".wide")):
        page = visit(full["urls"]["report"], width)
        assert {chart.is_visible() for chart in page.query_selector_all(f".chart{shown}")} == {True}
        assert page.locator(".chart:visible").count() == page.locator(".chart").count() / 2


def test_without_scripts_a_report_is_whole(visit: Open, full: dict[str, Any]) -> None:
    page = visit(full["urls"]["report"], java_script_enabled=False)
    assert page.get_by_role("heading", name="The bracket").is_visible()
    assert page.get_by_role("table").count() >= 1


def test_the_picture_alone_is_shown(visit: Open, full: dict[str, Any]) -> None:
    page = visit(f"{full['urls']['self']}/report.svg", color_scheme="dark")
    fills = page.evaluate("[...document.querySelectorAll('text')].map(node => getComputedStyle(node).fill)")
    assert "rgb(230, 236, 243)" in fills  # the dark scheme's ink
    assert "rgb(23, 32, 44)" not in fills


def test_a_key_is_typed_once(browser: Any, keyed: tuple[RunningService, str]) -> None:
    service, secret = keyed
    page = browser.new_context(base_url=service.url).new_page()
    page.set_default_timeout(10_000)
    box = page.get_by_role("textbox", name="API key")
    sign_in = page.get_by_role("button", name="Sign in")
    page.goto("/")
    box.fill("lip_wrong")
    sign_in.click()
    playwright.expect(page.locator("#key-fault")).to_contain_text("unknown or revoked")
    box.fill(secret)
    sign_in.click()
    playwright.expect(page.locator("#workers")).to_contain_text("confinement")
    assert not box.is_visible()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    box.wait_for()
    page.goto("/v1/jobs/none/report")
    box.fill(secret)
    sign_in.click()
    page.get_by_text("No such job").wait_for()
    assert page.url.endswith("/v1/jobs/none/report")
    page.context.close()
