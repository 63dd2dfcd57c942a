"""Certificates that were made so that a product of multipliers and slopes underflows: none is accepted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from app.lipschitz.certificate.balls import Ball
from app.lipschitz.certificate.check import check_piece
from app.lipschitz.certificate.faces import Face, _multipliers_hold, _vertices_hold
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.fourier import Neurons, _inequality
from app.lipschitz.certificate.record import ActivationRecord, PieceRecord, ProgramRecord
from app.lipschitz.deadline import Deadline
from app.lipschitz.formulation import make_problem
from app.lipschitz.request import Request
from tests.lipschitz.helpers import captured

FLAT = 1e-270
"""The slope of the activation below, at most."""


def network(x: Tensor) -> Tensor:
    """Of constant 1e-100."""
    return 1e-30 * torch.ops.aten.elu.default(1e200 * x, 1.0, FLAT, 1.0)


def test_a_program_whose_coupling_underflows_proves_nothing() -> None:
    """Without the coupling of neuron and input, any weight of the input would do."""
    request = Request.parse({"methods": ["autolip"], "norm": "inf"})
    problem = make_problem(captured(network, (1,)), request, Deadline.after(60.0), lambda _: None)
    slopes = ActivationRecord(2, [0.0], [1.01 * FLAT], [1.0])
    programs = [ProgramRecord([0], [1e-210], [[1e-59]])]
    with pytest.raises(InvalidCertificate, match="not certainly positive"):
        check_piece(problem, PieceRecord("rows", 0, 3, 2e-105, activations=[slopes], programs=programs))


def test_a_frequencys_coupling_keeps_what_its_factors_lose() -> None:
    """1e-59 (0 + 1e-270) is 0 in float64; times 1e200 it is 1e-129, and so is the entry."""
    symbols = [Ball.exact(np.array([[1e200]])), Ball.exact(np.array([[1e-30]]))]
    found = _inequality(symbols, [Neurons(np.zeros(1), np.array([FLAT]), np.array([1e-59]))], 1e-300)
    assert abs(found.middle[1, 0]) + found.radius[1, 0] >= 1e-129


def face(inner: float, outer: float, low: float, high: float) -> Face:
    ends = np.array([low]), np.array([high])
    return Face(Ball.exact(np.array([[outer]])), Ball.exact(np.array([[inner]])), *ends)


def test_a_slope_that_underflows_before_it_is_magnified_counts() -> None:
    """1e-30 1e-300 1e300 is 1e-30."""
    assert not _vertices_hold(face(1e300, 1e-30, 1e-300, 1e-300), 1e-40)
    assert _vertices_hold(face(1e3, 1e-3, 0.5, 0.5), 0.51)


def test_a_multipliers_counterpart_that_underflows_counts() -> None:
    """Slopes within 1e-170 of 0 between 1e5 and 1e160 make 1e-5."""
    one = face(1e5, 1e160, -1e-170, 1e-170)
    assert not _multipliers_hold(one, np.array([4.2e153]), 6e-7)
    assert _multipliers_hold(face(1.0, 1.0, -0.5, 0.5), np.array([1.0]), 0.51)
