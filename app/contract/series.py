"""A model over its life: every version's numbers, side by side as far as they answer one question."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from ..printable import printable
from .domain import Document, Strict
from .plain import Json

HOW = frozenset({"methods", "options", "gate", "budget_s", "seed", "input_names", "output_names"})
"""Fields of a request that only say how its answer is looked for, judged or told; all others say what is asked."""
MOST_LAYERS = 1000
"""Layers of a version whose norms are kept."""

MOST_NAME, MOST_VERSION = 255, 64

SeriesName = Annotated[str, Field(min_length=1, max_length=MOST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]
VersionName = Annotated[str, Field(min_length=1, max_length=MOST_VERSION, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ModelVersion(Strict):
    """What a model is called over its life."""

    name: SeriesName = Field(description="The series' name.")
    version: VersionName = Field(description="The version's name in it.")

    @classmethod
    def of(cls, name: str, version: str) -> ModelVersion:
        """What a registry calls it, in as many characters as are kept."""
        clipped = printable(name)[:MOST_NAME] or "unnamed", printable(version)[:MOST_VERSION] or "unnamed"
        return cls(name=clipped[0], version=clipped[1])


class LayerNorm(BaseModel):
    """A layer's certified norm."""

    name: str = Field(description="The layers of the file that it stands for, joined by `+`.")
    norm: float | None = Field(description="Certified upper bound of its norm; null where it is beyond float64.")


class SeriesRadii(BaseModel):
    """Radii of unchanged prediction, in short."""

    rows: int = Field(description="Rows of the data set.")
    right: int = Field(description="Those that are rightly predicted; without labels all that were looked at.")
    mean: float | None = Field(description="Mean certified radius; null where one is infinite.")
    median: float | None = Field(description="Half of the rightly predicted rows are certified so far; null for any.")


class VersionView(BaseModel):
    """One version: its numbers are null until an analysis has answered the question."""

    version: str = Field(description="Its name in the series.")
    model: str = Field(description="SHA-256 of the model.")
    created_at: datetime = Field(description="When it was named first.")
    job: str | None = Field(description="The job that the numbers are of; null once that is no longer kept.")
    answered_at: datetime | None = Field(description="When that job was over.")
    upper: float | None = Field(description="Certified upper bound.")
    lower: float | None = Field(description="Witnessed lower bound.")
    layers: list[LayerNorm] = Field(description="The layers' norms, in the order of the walk.")
    radii: SeriesRadii | None = Field(description="Null where none were asked for.")


class SeriesQuestion(BaseModel):
    """A question that was asked about versions of the series."""

    id: str = Field(description="For the query parameter `question`.")
    asked: Document = Field(description="The fields of the request that the answer depends on.")
    versions: int = Field(description="How many versions have an answer.")


class SeriesView(BaseModel):
    """The versions of a model, oldest first, with the answers to one question."""

    name: str = Field(description="The series' name.")
    question: str | None = Field(description="Whose answers these are; null before the first.")
    questions: list[SeriesQuestion] = Field(description="Those that were asked, most answers first; 100 at most.")
    versions: list[VersionView] = Field(description="Oldest first, the newest 1,000.")


class SeriesSummary(BaseModel):
    """A series in short: its newest version, with what was answered of that one last."""

    name: str = Field(description="The series' name.")
    versions: int = Field(description="How many versions it has.")
    version: str = Field(description="The newest version.")
    model: str = Field(description="SHA-256 of its model.")
    created_at: datetime = Field(description="When it was named.")
    question: str | None = Field(description="Which question the bracket answers; null before the first answer.")
    upper: float | None = Field(description="Certified upper bound.")
    lower: float | None = Field(description="Witnessed lower bound.")


class SeriesPage(BaseModel):
    """Series, those with the newest versions first."""

    series: list[SeriesSummary] = Field(description="This page of them.")
    next_page_token: str | None = Field(description="For the query parameter `page_token`; null on the last page.")


def asked_of(request: Json) -> Json:
    """The part of a canonical request that makes its answer comparable with others; what is refused asks nothing."""
    return {name: value for name, value in request.items() if name not in HOW and value not in (None, False, "refuse")}


def question_id(asked: Json) -> str:
    """A short name of the question."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def numbers_of(result: Json) -> Json:
    """What of a stored result stays in the series: bracket, norms, radii."""
    ends = {end: (result.get(end) or {}).get("value") for end in ("upper", "lower")}
    layers = [layer for layer in result.get("layers") or [] if layer.get("norm")][:MOST_LAYERS]
    norms = [{"name": layer["name"], "norm": layer["norm"]["upper"]} for layer in layers]
    radii = result.get("radii")
    short = None if radii is None else {name: radii[name] for name in SeriesRadii.model_fields}
    return ends | {"layers": norms, "radii": short}
