"""Refusals of the numerical library as problems, by its slugs, and those of data sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import Problem
from .lipschitz.errors import LipschitzError


class InvalidRequest(Problem, status=422, title="The request does not fit the contract"):
    """A field is unknown, of the wrong type, out of range, or does not fit the model."""


class NotAModel(Problem, status=415, title="The file is not a model of a supported format"):
    """The bytes are neither ONNX, nor TorchScript, nor a torch.export archive; the detail says how to export one."""


class TooLarge(Problem, status=413, title="The upload is too large"):
    """The body or the file exceeds the cap."""


class NotADataset(Problem, status=415, title="The file is not a data set of a supported format"):
    """The bytes are neither an npy nor an npz file."""


class InvalidDataset(Problem, status=422, title="The data set cannot be used"):
    """The file is npy or npz and cannot be used as a data set; the detail says why."""


class InvalidModel(Problem, status=422, title="The model cannot be used"):
    """The file claims a supported format and cannot be used; the detail says why."""


class MissingData(Problem, status=422, title="Files that hold the model's weights are missing"):
    """The model's weights lie in files that were not sent with it; the detail names them."""


class SurplusData(Problem, status=422, title="Files were sent that the model does not name"):
    """Files were sent with a model that does not name them; the detail does."""


class InvalidInputs(Problem, status=422, title="The inputs do not fit the model"):
    """Input shapes are missing where the file leaves them open, or do not fit the model."""


class UnsupportedOperator(Problem, status=422, title="The graph holds an operator without a rule"):
    """An operator of the graph has no rule; the detail names it and its place."""


class DataDependentControlFlow(Problem, status=422, title="The graph depends on the data"):
    """The model branches or loops on tensor values."""


class DiscontinuousOperator(Problem, status=422, title="The graph holds a discontinuous operator"):
    """An operator of the graph jumps, so no finite constant exists; the detail names it."""


class StatefulModel(Problem, status=422, title="The model is not a function of its inputs"):
    """The model keeps state between two calls."""


class NotGloballyLipschitz(Problem, status=422, title="No finite constant was found on this domain"):
    """No finite constant was found on the domain asked for; a smaller one may have one."""


class InvalidArtifact(Problem, status=422, title="The captured graph cannot be used"):
    """What a model's program handed over as its captured graph is none."""


class ConversionMismatch(Problem, status=422, title="The captured graph does not reproduce the model"):
    """The captured graph does not reproduce the model, so nothing is claimed."""


class IncomparableModels(Problem, status=422, title="The models cannot be compared"):
    """Two models whose inputs or outputs differ in number or shape; the detail tells both."""


class MethodSkipped(Problem, status=422, title="No requested method can serve this model"):
    """No requested method could serve the model; the detail gives the reasons."""


class BracketViolation(Problem, status=500, title="The bounds contradict each other"):
    """A lower bound exceeded an upper bound: a defect, so no result is given."""


class AnalysisFailed(Problem, status=500, title="The analysis failed"):
    """The analysis stopped on an unexpected error."""


def problem_types() -> Iterator[type[Problem]]:
    """Every problem type, the root first."""
    yield Problem
    yield from Problem.__subclasses__()


BY_SLUG: dict[str, type[Problem]] = {kind.slug: kind for kind in problem_types()}


def from_slug(slug: str, detail: str) -> Problem:
    """The problem that a child process reported; an unknown slug is an analysis failure."""
    return BY_SLUG.get(slug, AnalysisFailed)(detail)


@contextmanager
def as_problems() -> Iterator[None]:
    """Turns refusals of the library into the problems of the same slugs."""
    try:
        yield
    except LipschitzError as refusal:
        raise from_slug(refusal.slug, refusal.detail) from refusal
