"""What a request may say, where the fault is pointed at, and what is canonical."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.problems import parse_json
from app.api.queries import fields_of
from app.contract.methods import METHODS
from app.contract.request import MAX_METADATA_BYTES, AnalysisFields, JobRequest
from app.errors import MalformedJson
from app.parsing import parse_fields
from app.refusals import InvalidRequest

DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"metods": ["autolip"]}, "#/metods"),
        ({"methods": ["autolip", "magic"]}, "#/methods"),
        ({"methods": []}, "#/methods"),
        ({"methods": "autolip"}, "#/methods"),
        ({"inputs": {"x": [1, "a"]}}, "#/inputs/x/1"),
        ({"inputs": {"x": [1, -1]}}, "#/inputs/x/1"),
        ({"inputs": [[1, 0]]}, "#/inputs/0/1"),
        ({"inputs": [[1, 2.5]]}, "#/inputs/0/1"),
        ({"inputs": "x"}, "#/inputs"),
        ({"norm": "3"}, "#/norm"),
        ({"norm": 2}, "#/norm"),
        ({"domain": {"kind": "cone"}}, "#/domain"),
        ({"domain": {"kind": "box", "lower": 0}}, "#/domain/upper"),
        ({"domain": {"kind": "box", "lower": 0, "upper": "1"}}, "#/domain/upper"),
        ({"domain": {"kind": "ball", "center": [0], "radius": 0}}, "#/domain/radius"),
        ({"domain": {"kind": "all", "radius": 1}}, "#/domain/radius"),
        ({"domain": {"kind": "ball", "center": "dataset#0", "radius": 1}}, "#"),
        ({"domain": {"kind": "ball", "center": "dataset#01", "radius": 1}}, "#/domain/center"),
        ({"domain": {"kind": "ball", "center": f"{DIGEST}#0", "radius": 1}, "dataset": "1" * 64}, "#"),
        ({"dataset": "x"}, "#/dataset"),
        ({"target": {"kind": "logit", "index": -1}}, "#/target/index"),
        ({"target": {"kind": "margin", "i": 1, "j": 1}}, "#/target"),
        ({"options": {"magic": {}}}, "#/options"),
        ({"options": {"gradient": {"leaps": 3}}}, "#/options"),
        ({"options": {"gradient": {"steps": "3"}}}, "#/options"),
        ({"options": {"gradient": {"steps": 0}}}, "#/options"),
        ({"gate": {"max_upper": 0}}, "#/gate/max_upper"),
        ({"gate": {}}, "#/gate"),
        ({"gate": {"radius": 0.1}}, "#/gate"),
        ({"gate": {"min_certified_share": 0.5}}, "#/gate"),
        ({"gate": {"min_certified_share": 1.5, "radius": 0.1}}, "#/gate/min_certified_share"),
        ({"budget_s": 0}, "#/budget_s"),
        ({"timeout_s": -1}, "#/timeout_s"),
        ({"priority": 10}, "#/priority"),
        ({"seed": -1}, "#/seed"),
        ({"metadata": {"a": "b" * MAX_METADATA_BYTES}}, "#/metadata"),
        ([], "#"),
    ],
    ids=str,
)
def test_a_fault_is_pointed_at(fields: object, pointer: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_fields(AnalysisFields, fields)
    assert pointer in [fault["pointer"] for fault in caught.value.errors]


def test_an_unknown_method_is_named_beside_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"magic.*autolip"):
        parse_fields(AnalysisFields, {"methods": ["magic"]})


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, "0" * 65, None])
def test_a_job_needs_a_digest(digest: str | None) -> None:
    with pytest.raises(InvalidRequest):
        parse_fields(JobRequest, {"model": digest})


def test_defaults_are_filled_in_and_what_the_answer_does_not_depend_on_is_left_out() -> None:
    bare = parse_fields(JobRequest, {"model": DIGEST})
    busy = parse_fields(JobRequest, {"model": DIGEST, "priority": 9, "timeout_s": 5, "metadata": {"a": 1}, "norm": "2"})
    assert bare.canonical() == busy.canonical()
    assert set(bare.canonical()) == {
        "methods", "inputs", "input", "output", "norm", "domain", "target", "options", "gate", "budget_s",
        "seed", "certify", "dataset", "input_scale", "output_scale", "input_names", "output_names",
        "rounding",
    }  # fmt: skip


def test_domains_and_targets_go_through_unchanged() -> None:
    for domain in (
        {"kind": "all"},
        {"kind": "box", "lower": 0.0, "upper": [[0.5, 1.0], [2.0, 3.0]]},
        {"kind": "ball", "center": [0.0, 1.0], "radius": 0.1},
    ):
        assert parse_fields(AnalysisFields, {"domain": domain}).canonical()["domain"] == domain
    for target in ({"kind": "logit", "index": 3}, {"kind": "margin", "i": 3, "j": 5}, {"kind": "margins"}):
        assert parse_fields(AnalysisFields, {"target": target}).canonical()["target"] == target


@given(st.lists(st.sampled_from([method.name for method in METHODS]), min_size=1))
def test_methods_keep_their_order_once_each(methods: list[str]) -> None:
    assert parse_fields(AnalysisFields, {"methods": methods}).methods == list(dict.fromkeys(methods))


@pytest.mark.parametrize("text", ["{", "NaN", '{"seed": Infinity}', '{"budget_s": 1e999}', "", "\xff", "[" * 9999])
def test_what_is_not_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedJson):
        parse_json(text.encode("latin-1"))


def test_query_parameters_spell_the_same_request() -> None:
    query = {
        "methods": "autolip, gradient",
        "inputs": '{"x": [1, 4]}',
        "domain": '{"kind": "box", "lower": 0, "upper": 1}',
        "budget_s": "2.5",
        "seed": "7",
        "certify": "true",
        "name": "not a field",
    }
    body = {
        "methods": ["autolip", "gradient"],
        "inputs": {"x": [1, 4]},
        "domain": {"kind": "box", "lower": 0, "upper": 1},
        "budget_s": 2.5,
        "seed": 7,
        "certify": True,
    }
    assert parse_fields(AnalysisFields, fields_of(query), is_text=True) == parse_fields(AnalysisFields, body)


def test_query_parameters_are_checked_like_a_body() -> None:
    for query, pointer in (({"inputs": "x"}, "#/inputs"), ({"seed": "x"}, "#/seed"), ({"sed": "1"}, "#/sed")):
        with pytest.raises(InvalidRequest) as caught:
            parse_fields(AnalysisFields, fields_of(query), is_text=True)
        assert caught.value.errors[0]["pointer"] == pointer
