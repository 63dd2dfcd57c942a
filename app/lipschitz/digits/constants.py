"""Constants of a captured graph whose float64 error is too wide, or unknown: once more in long arithmetic.

Errors of float64 grow with every product of matrices; an orthonormalisation of twenty steps leaves nothing of them. In
long arithmetic the same growth begins a hundred bits lower.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from ..artifact.captured import Captured
from ..deadline import Deadline, OutOfTime
from ..device import on_cpu
from ..network.constants import is_wide
from ..network.values import Constant
from .evaluate import evaluated
from .number import Number, Unable, ends

PLACES = (8, 16)
"""Digits that are tried one after the other: 144 and 288 bits."""

SHARE = 0.5
"""Of the time that is left when a constant is asked for."""


class Sharpener:
    """Asked for a node that no input reaches, with what float64 knows of it, gives the narrower enclosure."""

    def __init__(self, captured: Captured, deadline: Deadline | None = None) -> None:
        self._graph, self._deadline = captured.graph, deadline or Deadline()
        self._values: dict[int, dict[fx.Node, Any]] = {places: {} for places in PLACES}

    def __call__(self, node: fx.Node, known: Constant) -> Constant:
        """The constant itself, with a `cause`, where long arithmetic has no rule for what makes it, or no time."""
        until = self._deadline.share(SHARE)
        element = known
        try:
            for places in PLACES:
                with torch.no_grad(), on_cpu():
                    value = evaluated(self._graph, node, self._values[places], places, until)
                element = enclosed(value, known)
                if not is_wide(element):
                    break
        except Unable as error:
            return replace(element, cause=str(error))
        except OutOfTime:
            return replace(element, cause="the time budget was over before it was known")
        return element


def enclosed(value: Any, known: Constant) -> Constant:
    """A long number as a float64 constant with a radius."""
    if not isinstance(value, Number):
        return replace(known, radius=None)
    lower, upper = (end.to(known.value.device).reshape(known.shape) for end in ends(value))
    enclosure = _around(lower / 2 + upper / 2, lower, upper, known)
    return _around(known.value, lower, upper, known) if is_wide(enclosure) else enclosure


def _around(middle: Tensor, lower: Tensor, upper: Tensor, known: Constant) -> Constant:
    return replace(known, value=middle, radius=torch.maximum(_away(upper, middle), _away(-lower, -middle)))


def _away(end: Tensor, middle: Tensor) -> Tensor:
    distance = end - middle
    return torch.nextafter(distance.clamp(min=0.0), torch.full_like(distance, math.inf))
