"""The result of a job. Fields that only some results have are optional; more of them may come than are named here.

Every number is finite: a bound that is beyond float64, or that does not exist, is null.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .domain import ALL, Document, Domain, Target
from .graph import GraphDigest, TensorView
from .methods import Guarantee, Kind
from .part import Part
from .radii import RadiiView, SampleView
from .rounding import OffsetView

Verdict = Literal["pass", "fail", "inconclusive"]


class Bound(Part):
    """An end of the bracket."""

    value: float | None = Field(description="The bound; null where it is beyond float64.")
    method: str = Field(description="The method that found it.")
    guarantee: Guarantee = Field(description="`certified` for the upper end, `witnessed` for the lower.")


class NormView(Part):
    """The operator norm of a linear map, between two bounds."""

    upper: float | None = Field(description="Certified upper bound; null where it is beyond float64.")
    lower: float | None = Field(description="Witnessed lower bound; null where there is none.")
    method: str = Field(description="How the upper bound was found: gram, fourier, hoelder, ...")


class LayerView(Part):
    """A step of AutoLip's walk through the network."""

    index: int = Field(description="Its place in the walk, from 0.")
    name: str = Field(description="The layers of the file that it stands for, joined by `+`.")
    op: str = Field(description="Their operators in the file, joined by `+`.")
    kind: str = Field(description="affine, activation, pooling, normalization, merge or structural.")
    input_shape: list[int] = Field(description="Shape of what it reads, of the first where it reads several.")
    output_shape: list[int] = Field(description="Shape of what it gives.")
    parameters: int = Field(description="Numbers that it stores.")
    norm: NormView | None = Field(description="Norm of its linear map; null without one, or with several.")
    branches: list[NormView] = Field(default=[], description="Norms of its linear maps where it adds several.")
    slope: list[float] | None = Field(description="Least and largest slope of an activation on the domain, else null.")
    lipschitz: float | None = Field(description="Its own constant, by which AutoLip multiplies.")
    cumulative: float | None = Field(description="The constant from the network's input to its output.")
    factor: float | None = Field(
        default=None, description="Its part of the bound: the factors of all layers multiply to it."
    )
    share: float | None = Field(description="Its part of the sum of all |log factor|, from 0 to 1.")
    sources: list[int] = Field(
        default=[], description="Indices of the layers that it reads; -1 is the network's input."
    )


def _sources_come_first(layers: list[LayerView]) -> list[LayerView]:
    for position, layer in enumerate(layers):
        if not all(-1 <= source < position for source in layer.sources):
            raise ValueError(f"layer {position} reads one that does not come before it")
    return layers


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Times = Annotated[tuple[float, float | None, float | None], BeforeValidator(_as_tuple)]


class Details(Part):
    """What a method tells of its work; what else there is depends on the method (docs/methods.md)."""

    trail: list[Times] = Field(default=[], description="Bounds over time: seconds, upper bound, lower bound.")


class EstimateView(Part):
    """One method's answer."""

    method: str = Field(description="Its name, as in `GET /v1/methods`.")
    kind: Kind = Field(description="What it bounds.")
    guarantee: Guarantee = Field(description="What its number is worth; an estimate is no bound.")
    status: Literal["ok", "skipped", "failed"] = Field(description="Whether it answered.")
    reason: str | None = Field(description="Why it was skipped, failed, or has no finite value.")
    value: float | None = Field(description="Its bound or estimate; null where it has none.")
    seconds: float = Field(description="Time that it took.")
    details: Details = Field(description="What it tells of its work.")
    layers: list[Document] = Field(description="Its own table of layers or pieces; members depend on the method.")


class AnalysedModel(Part):
    """What was analysed: the captured model, with the shapes that were used."""

    format: str | None = Field(default=None, description="onnx, torchscript or torch_export.")
    inputs: list[TensorView] = Field(default=[], description="Inputs as they were captured.")
    outputs: list[TensorView] = Field(default=[], description="Outputs as they were captured.")
    parameters: int | None = Field(default=None, description="Numbers that the file stores.")
    operators: dict[str, int] = Field(default={}, description="Operators of the file's graph, with their number.")


class EngineView(Part):
    """What computed the result."""

    version: str | None = Field(default=None, description="Lipserve's version.")
    device: str | None = Field(default=None, description="cpu or cuda:0.")
    dtype: str | None = Field(default=None, description="The numbers that it computed with.")
    torch: str | None = Field(default=None, description="The version of torch.")


class CertificateView(Part):
    """The part of a certificate that the service itself reads."""

    bound: float
    method: str
    pieces: list[Document]


class VerdictView(Part):
    """What became of a certificate that was checked again."""

    valid: bool = Field(description="Whether the bound is proved.")
    reasons: list[str] = Field(description="Why it is not.")
    pieces: list[Document] = Field(description="What was checked, from the input to the output.")
    check: str | None = Field(description="How much of it was computed anew.")
    seconds: float = Field(description="Time that the check took.")


class BatchView(Part):
    """Which part of the batch that the file fixes was analysed, and why it stands for all."""

    rows: int = Field(description="Rows that were analysed.")
    of: int = Field(description="Rows that the file fixes.")
    reason: str = Field(description="Why they stand for all.")


class BaselineView(Part):
    """The model that a gate compares with."""

    upper: float | None = Field(description="Its certified upper bound on the same question; null without one.")
    lower: float | None = Field(description="What two inputs attain of it; null without any.")
    limit: float | None = Field(description="`max_increase` times its upper bound.")
    reason: str | None = Field(default=None, description="Why it has no bound.")


class OutputView(Part):
    """The tensors that were analysed in place of outputs that jump, and why."""

    name: str = Field(description="The tensor that was analysed, the first of several.")
    names: list[str] = Field(description="All tensors that were analysed, end to end.")
    reason: str = Field(description="Why these, in place of the file's outputs.")


class RankView(Part):
    """What an input does to the outputs at most."""

    index: int = Field(description="The input's place, from 0.")
    name: str = Field(description="Its name.")
    bound: float | None = Field(
        description="At least every |d f_i / d x_j| on the domain; null where there is no bound."
    )
    attained: float | None = Field(description="What some |d f_i / d x_j| is at least; null where none was looked for.")
    output: str = Field(description="The output with that bound.")


class ViolationView(Part):
    """A derivative at a point of the domain that breaks a limit of the gate."""

    limit: str = Field(description="`monotone` or `max_sensitivity`.")
    input: str = Field(description="Name of the input's feature.")
    output: str = Field(description="Name of the output's entry.")
    value: float = Field(description="The derivative there is at least so far from 0, on this side of it.")
    point: list[float] = Field(description="The point, all inputs end to end.")


Sign = Literal["+", "-", "0", "?"]
Ends = list[list[float | None]] | None


class SensitivitiesView(Part):
    """Every derivative d f_i / d x_j on the domain: rows are outputs, columns inputs; null where there is no bound."""

    input_names: list[str] = Field(description="The inputs' entries, all inputs end to end; empty where `omitted`.")
    output_names: list[str] = Field(description="The outputs' entries, as the target selects them.")
    lower: Ends = Field(description="Certified: no derivative is less.")
    upper: Ends = Field(description="Certified: no derivative is more.")
    attained_lower: Ends = Field(
        description="Some derivative is at most this, rounding counted; null if not looked for."
    )
    attained_upper: Ends = Field(description="Some derivative is at least this, rounding counted.")
    sign: list[list[Sign]] | None = Field(
        description="`+` never negative, `-` never positive, `0` always zero, `?` not known to be any of them."
    )
    counts: dict[Sign, int] = Field(description="How many derivatives have each sign.")
    ranking: list[RankView] = Field(description="The inputs with the largest bounds, largest first; 1,000 at most.")
    violations: list[ViolationView] = Field(default=[], description="What breaks the gate, with where it does.")
    omitted: str | None = Field(default=None, description="Why the entries are left out; null where they are here.")


class ResultView(Part):
    """A bracket on the Lipschitz constant, and what it rests on."""

    norm: str | Document = Field(
        description="The norm of both spaces: 1, 2 or inf; with one for each, `input` and `output`."
    )
    domain: Domain = Field(default=ALL, description="Where the constant is bounded.")
    target: Target = Field(default=ALL, description="Which output coordinates count.")
    upper: Bound | None = Field(description="The least certified upper bound; null where there is none.")
    lower: Bound | None = Field(description="The largest slope that a pair of points attains; null without one.")
    ratio: float | None = Field(description="Upper end over lower end; null where either is missing or zero.")
    verdict: Verdict | None = Field(description="Of the request's gate; null without one.")
    estimates: list[EstimateView] = Field(description="Every method's answer, in the order in which they ran.")
    layers: Annotated[list[LayerView], AfterValidator(_sources_come_first)] = Field(
        description="AutoLip's walk; empty where a layer has no finite constant."
    )
    certificates: list[SampleView] = Field(
        description="Radii of the data set's first 1,000 rows, where they were asked for; `urls.radii` has all."
    )
    radii: RadiiView | None = Field(default=None, description="What the radii of all rows say together.")
    model: AnalysedModel = Field(default=AnalysedModel(), description="What was analysed.")
    graph: GraphDigest | None = Field(default=None, description="The captured graph that the bounds speak about.")
    batch: BatchView | None = Field(default=None, description="Where one row stands for all that the file fixes.")
    input_scale: float | list[float] | None = Field(
        default=None, description="How much of each input coordinate was one unit; null for the file's own units."
    )
    output_scale: float | list[float] | None = Field(default=None, description="The same of each output coordinate.")
    sensitivities: SensitivitiesView | None = Field(
        default=None,
        description="Bounds of every derivative, where `jacobian` was asked for by name or by the gate, or ran and the "
        "derivatives are few.",
    )
    offset: OffsetView | None = Field(
        default=None,
        description="Asked with `rounding: noise`: the bracket is then that of the model without its rounding, and the "
        "model itself obeys ||f(x) - f(y)|| <= upper ||x - y|| + offset.",
    )
    output: OutputView | None = Field(default=None, description="What `output: auto` took in place of heads that jump.")
    baseline: BaselineView | None = Field(default=None, description="The gate's baseline, where it names one.")
    engine: EngineView = Field(default=EngineView(), description="What computed it.")
    warnings: list[str] = Field(description="What a reader of the bracket should know.")

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The lower and the upper bound, None where there is none."""
        return (None if self.lower is None else self.lower.value), (None if self.upper is None else self.upper.value)
