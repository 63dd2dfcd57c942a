"""What is asked of two models, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from .domain import Digest, Document, TwoNorms
from .part import Part
from .question import Question
from .request import AnalysisFields
from .result import Bound, ResultView
from .stored import readable

Fate = Literal["kept", "changed", "open"]
ONLY_OF_TWO = ("max_difference", "min_kept_share")
"""Limits of a gate that are about two models, and the only ones that are."""


class ComparisonQuestion(Question):
    """What is asked of two models; the job's `model` is the first."""

    b: Digest = Field(description="SHA-256 of the second model; the difference is the first minus this one.")
    radius: float | None = Field(
        default=None,
        gt=0,
        description="Radius of the balls about the rows on which decisions are judged; null: none.",
    )


class ComparisonFields(AnalysisFields):
    """Everything that a comparison may be asked for; all fields have defaults."""

    of_two: ClassVar[bool] = True

    radius: float | None = Field(
        default=None,
        gt=0,
        description="Radius of the balls about the rows on which decisions are judged; null: none.",
    )

    @model_validator(mode="after")
    def _of_two(self) -> ComparisonFields:
        if self.target.kind != "all" or self.certify or self.output is not None:
            raise ValueError("a comparison is about all outputs: target, certify and output are none of its fields")
        if isinstance(self.norm, TwoNorms):
            raise ValueError("a comparison is in one norm for both spaces: `norm` names two")
        limits = self.gate.model_fields_set if self.gate else set()
        if foreign := sorted(limits - set(ONLY_OF_TWO)):
            raise ValueError(f"a comparison's gate knows {' and '.join(ONLY_OF_TWO)}, not {foreign[0]}")
        if "min_kept_share" in limits and self.dataset is None:
            raise ValueError("min_kept_share is about the rows of a data set: `dataset` names it")
        return self


class ComparisonRequest(ComparisonFields):
    """The body of `POST /v1/comparisons`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "a": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "b": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
                    "domain": {"kind": "box", "lower": 0, "upper": 1},
                    "gate": {"max_difference": 0.1},
                }
            ]
        }
    )

    a: Digest = Field(description="SHA-256 of an uploaded model.")
    b: Digest = Field(description="SHA-256 of another one, of the same inputs and outputs.")

    def canonical(self) -> Document:
        """The question, with the second model and the radius."""
        return super().canonical() | {"b": self.b, "radius": self.radius}


class DifferenceView(Part):
    """A bracket on the largest norm of f(x) - g(x) on the domain."""

    upper: Bound | None = Field(description="Proved for every point of the domain; null where there is none.")
    lower: Bound | None = Field(description="Attained at the point in the job's witness.")
    bounds: dict[str, float | None] = Field(
        default={},
        description="What each way gives, the least of which counts: `intervals` and `linear` carry differences from "
        "layer to layer, `apart` bounds the models one by one, `anchored` goes by the constant of the difference.",
    )
    at_rows: float | None = Field(
        default=None, description="Certified bound of the difference at the data set's rows themselves; null without."
    )
    reason: str | None = Field(default=None, description="Why there is no upper bound.")


class LipschitzView(Part):
    """A bracket on the Lipschitz constant of f - g."""

    upper: Bound | None = Field(description="Certified; null where there is none.")
    lower: Bound | None = Field(description="Attained by a pair of points; null without one.")


class ChangeView(Part):
    """A layer that differs."""

    index: int = Field(description="Its place among those that differ, from 0.")
    name: str = Field(description="The layers of the first model's file that it stands for, joined by `+`.")
    op: str = Field(description="Their operators in the file, joined by `+`.")
    output_shape: list[int] = Field(description="Shape of what it gives.")
    corresponds: bool = Field(description="Whether the second model has such a layer; if not, both are subtracted.")
    change: float | None = Field(
        description="Certified bound of the norm of the difference of both linear maps; null without one."
    )
    contribution: float | None = Field(
        description="Certified bound of what this layer's change alone adds to the difference; null without one."
    )


class DecisionRow(Part):
    """What becomes of the decision at a row of the data set."""

    index: int = Field(description="The row, from 0.")
    decision: Fate = Field(description="kept and changed are proved; open is neither.")
    a: int | None = Field(description="The class that the first model provably chooses at the row.")
    b: int | None = Field(description="The class that the second model provably chooses there.")
    reason: str | None = Field(default=None, description="Why it is open, or where it changes.")
    witness: list[float] | None = Field(default=None, description="Where it changes, if not at the row itself.")


class Decisions(Part):
    """The decisions at the rows of a data set."""

    kept: int = Field(description="Rows where both models provably decide alike, on the whole ball if one was asked.")
    changed: int = Field(description="Rows where they provably decide differently at a point that is known.")
    open: int = Field(description="All other rows.")
    radius: float | None = Field(description="Radius of the balls; null: the rows themselves.")
    rows: list[DecisionRow] = Field(default=[], description="Row by row, the first 1,000.")


class ComparisonView(ResultView):
    """How far two models are apart: `upper` and `lower` are those of the difference, `estimates` of its constant."""

    identical: bool = Field(description="Both are one function in real arithmetic, proved by their graphs.")
    difference: DifferenceView = Field(description="The largest difference on the domain.")
    lipschitz_of_difference: LipschitzView = Field(description="The Lipschitz constant of the difference.")
    layers: list[ChangeView] = Field(description="The layers that differ.")  # type: ignore[assignment]
    decisions: Decisions | None = Field(description="Rows of the data set; null without one.")


AnyResult = ComparisonView | ResultView
AnyQuestion = ComparisonQuestion | Question


def second_model(request: Mapping[str, object]) -> str | None:
    """The second model of a comparison's canonical request; None for an analysis."""
    digest = request.get("b")
    return digest if isinstance(digest, str) else None


def other_model(request: Mapping[str, object]) -> str | None:
    """The model that a canonical request needs beside its own: a comparison's second, or a gate's baseline."""
    gate = request.get("gate")
    baseline = gate.get("baseline") if isinstance(gate, dict) else None
    return second_model(request) or (baseline if isinstance(baseline, str) else None)


def stored_question(document: Document) -> AnyQuestion:
    """A canonical request, of a comparison or of an analysis."""
    return readable(ComparisonQuestion if second_model(document) else Question, document)


def stored_result(document: Document) -> AnyResult:
    """A result, of a comparison or of an analysis."""
    return readable(ComparisonView if "identical" in document else ResultView, document)
