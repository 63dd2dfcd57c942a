"""The result of a job. Fields that only some results have are optional; more of them may come than are named here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from app.contract.graph import GraphDigest

Guarantee = Literal["certified", "witnessed", "estimate"]
Verdict = Literal["pass", "fail", "inconclusive"]
Document = dict[str, JsonValue]


class Part(BaseModel):
    """A part of a result."""

    model_config = ConfigDict(extra="allow")


class Bound(Part):
    """An end of the bracket; `value` is null where it is beyond float64."""

    value: float | None
    method: str
    guarantee: Guarantee


class NormView(Part):
    """The certified and the witnessed norm of a linear map."""

    upper: float | None
    lower: float | None
    method: str


class LayerView(Part):
    """A row of AutoLip's walk."""

    index: int
    name: str
    op: str
    kind: str
    input_shape: list[int]
    output_shape: list[int]
    parameters: int
    norm: NormView | None
    branches: list[NormView] = []
    slope: list[float] | None
    lipschitz: float | None
    cumulative: float | None
    factor: float | None = None
    share: float | None
    sources: list[int] = []


class Details(Part):
    """What a method tells of its work; `trail` lists seconds, upper and lower bound."""

    trail: list[Annotated[list[float | None], Field(min_length=3, max_length=3)]] = []


class EstimateView(Part):
    """One method's answer."""

    method: str
    kind: Literal["upper", "lower", "estimate"]
    guarantee: Guarantee
    status: Literal["ok", "skipped", "failed"]
    reason: str | None
    value: float | None
    seconds: float
    details: Details
    layers: list[Document]


class SampleView(Part):
    """One row's certificate of robustness."""

    index: int
    label: int | None
    prediction: int
    radius: float | None
    reason: str | None = None
    against: int | None
    method: str


class CertificateView(Part):
    """The part of a certificate that the service itself reads."""

    bound: float
    method: str
    pieces: list[Document]


class VerdictView(Part):
    """What became of a certificate that was checked again."""

    valid: bool
    reasons: list[str]
    pieces: list[Document]
    check: str | None
    seconds: float


class ResultView(Part):
    """All that a job found."""

    norm: str | Document
    domain: Document
    target: Document
    upper: Bound | None
    lower: Bound | None
    ratio: float | None
    verdict: Verdict | None
    estimates: list[EstimateView]
    layers: list[LayerView]
    certificates: list[SampleView]
    model: Document
    graph: GraphDigest | None = None
    engine: Document
    warnings: list[str]

    @model_validator(mode="after")
    def _check_sources(self) -> ResultView:
        for position, layer in enumerate(self.layers):
            if not all(-1 <= source < position for source in layer.sources):
                raise ValueError(f"layer {position} reads one that does not come before it")
        return self
