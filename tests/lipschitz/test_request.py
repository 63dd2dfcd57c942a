"""Requests are checked before anything runs, and refusals say what would be right."""

from __future__ import annotations

import pytest

from app.contract.domain import All
from app.contract.methods import AUTO
from app.lipschitz.errors import InvalidRequest
from app.lipschitz.request import Request


def test_defaults() -> None:
    request = Request.parse({})
    assert request.methods == AUTO
    assert (request.norm, request.domain, request.target, request.budget_s) == ("2", All(), All(), 60)
    assert request.options["gradient"].restarts > 0


def test_methods_are_run_once_and_in_order() -> None:
    assert Request.parse({"methods": ["gradient", "autolip", "gradient"]}).methods == ("gradient", "autolip")
    assert Request.parse({"methods": "autolip"}).methods == ("autolip",)


def test_options_keep_their_defaults() -> None:
    options = Request.parse({"methods": ["gradient"], "options": {"gradient": {"steps": 3}}}).options["gradient"]
    assert options.steps == 3
    assert options.restarts == Request.parse({}).options["gradient"].restarts


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": ["magic"]}, "unknown method 'magic': known are"),
        ({"norm": "3"}, "norm '3' is not one of 1, 2, inf"),
        ({"options": {"magic": {}}}, "unknown method"),
        ({"options": {"gradient": {"stepz": 1}}}, "gradient has no option 'stepz': its options are"),
        ({"options": {"gradient": {"steps": 0}}}, "outside"),
        ({"options": {"gradient": {"steps": True}}}, "type integer"),
        ({"options": {"gradient": {"scale": "big"}}}, "type number"),
    ],
)
def test_refusals(fields: dict, message: str) -> None:
    methods = {"methods": ["gradient"]} if "options" in fields else {}
    with pytest.raises(InvalidRequest, match=message):
        Request.parse(methods | fields)
