"""A result as a part of a model card: what YAML and Markdown say is what was proved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client.test_client_package import run
from tests.conftest import ROOT, RunningService
from tests.examples.test_gate import DIGEST, JOB, RESULT, UPPER

HASH = "0" * 64
DOMAIN = {"kind": "box", "lower": 0.0, "upper": 8.0}
BRACKET = RESULT | {
    "upper": UPPER | {"value": 17.081988066341008}, "lower": {"value": 1e-05, "method": "gradient",
    "guarantee": "witnessed"}, "domain": DOMAIN, "target": {"kind": "all"},
}  # fmt: skip
OFFSET = {"value": 1.5, "guarantee": "certified", "steps": []}
PROOF = {
    "model": {"sha256": DIGEST}, "function": {"norm": "2", "domain": DOMAIN, "target": {"kind": "all"}},
    "bound": 17.081988083423013, "reported": {"method": "autolip", "value": 17.081988066341008},
}  # fmt: skip


def card(installed: Path, folder: Path, document: Any, proof: Any = None, *options: str) -> Any:
    (folder / "r.json").write_text(json.dumps(document))
    (folder / "c.json").write_text(json.dumps(proof))
    given = () if proof is None else ("--certificate", str(folder / "c.json"))
    return run(installed, "-m", "lipserve_client", "card", str(folder / "r.json"), *given, *options)


def parts(text: str) -> tuple[Any, str]:
    """The metadata, read as the hub reads it, and the section."""
    _, front, section = text.split("---\n", 2)
    return yaml.safe_load(front), section


def test_the_metadata_is_the_hubs_and_has_every_digit(installed: Path, tmp_path: Path) -> None:
    name = 'a "model": #1\n\u2028---'
    done = card(installed, tmp_path, JOB | {"result": BRACKET}, PROOF, "--name", name, "--task", "other")
    [index] = parts(done.stdout)[0]["model-index"]
    [result] = index["results"]
    assert index["name"] == 'a "model": #1\\n\\u2028---'
    assert (result["task"]["type"], result["dataset"]["type"]) == ("other", "domain")
    assert json.loads(result["dataset"]["name"]) == DOMAIN
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {"lipschitz_upper": 17.081988066341008, "lipschitz_lower": 1e-05}


def test_the_section_tells_what_is_needed_to_check_it(installed: Path, tmp_path: Path) -> None:
    done = card(installed, tmp_path, BRACKET, PROOF)
    section = parts(done.stdout)[1]
    digest = hashlib.sha256((tmp_path / "c.json").read_bytes()).hexdigest()
    for told in (
        "17.081988066341008 (`autolip`)",
        "1e-05 (`gradient`)",
        "`2-norm`",
        digest,
        DIGEST,
        "lipserve verify",
        "proves 17.081988083423013",
    ):
        assert told in section
    assert "verify" not in card(installed, tmp_path, BRACKET).stdout
    assert card(installed, tmp_path, BRACKET, PROOF, "--part", "section").stdout.startswith("## Lipschitz bound\n")


@pytest.mark.parametrize(
    ("document", "proof", "why"),
    [
        (BRACKET | {"offset": OFFSET}, None, "not the model's own constant"),
        (BRACKET | {"upper": None}, None, "no certified upper bound"),
        (BRACKET | {"upper": UPPER | {"guarantee": "witnessed"}}, None, "no certified upper bound"),
        (BRACKET, PROOF | {"reported": {"method": "autolip", "value": 17.0}}, "another bound"),
        (BRACKET, PROOF | {"function": PROOF["function"] | {"norm": "inf"}}, "another bound"),
        (BRACKET, PROOF | {"function": PROOF["function"] | {"domain": {"kind": "all"}}}, "another bound"),
        (JOB | {"result": BRACKET, "model": HASH}, PROOF, "another model"),
        (BRACKET, {}, "no certificate"),
        (JOB | {"result": None}, None, "the job has no result"),
        ([], None, "no result"),
    ],
)
def test_what_proves_nothing_is_told_by_no_card(
    installed: Path, tmp_path: Path, document: Any, proof: Any, why: str
) -> None:
    done = card(installed, tmp_path, document, proof)
    assert (done.returncode, done.stdout) == (3, "")
    assert why in done.stderr
    assert done.stderr.startswith("lipserve-client: ")


def test_names_are_not_markdown(installed: Path, tmp_path: Path) -> None:
    hostile = BRACKET | {"upper": UPPER | {"method": "a`|<script>\n## b"}}
    section = parts(card(installed, tmp_path, hostile).stdout)[1]
    assert "`a'/<script>\\n## b`" in section


def test_from_a_service_to_a_card(installed: Path, library_service: RunningService, tmp_path: Path) -> None:
    proof, result = tmp_path / "c.json", tmp_path / "r.json"
    model = str(ROOT / "examples" / "iris.onnx")
    asked = ("analyze", model, "--methods", "autolip", "--box", "0", "8", "--json", "--certificate", str(proof))
    done = run(installed, "-m", "lipserve_client", *asked, url=library_service.url)
    assert done.returncode == 0, done.stderr
    result.write_text(done.stdout)
    told = run(installed, "-m", "lipserve_client", "card", str(result), "--certificate", str(proof))
    assert told.returncode == 0, told.stderr
    [index] = parts(told.stdout)[0]["model-index"]
    value = json.loads(done.stdout)["upper"]["value"]
    assert index["results"][0]["metrics"][0]["value"] == value
    assert DIGEST in told.stdout
