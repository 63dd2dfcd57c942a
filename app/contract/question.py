"""What is asked of a model: the members of a request that the answer depends on, and their parts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from .domain import ALL, Ball, Digest, Document, Domain, NormName, Numbers, Strict, Target, TwoNorms
from .methods import METHODS
from .options import (
    AnnealingOptions,
    AutolipPowerOptions,
    DatasetOptions,
    ExactOptions,
    GradientOptions,
    GreedySeqlipOptions,
    GridOptions,
    JacobianOptions,
    LipsdpOptions,
    NoOptions,
    SeqlipOptions,
)

NAMES = tuple(method.name for method in METHODS)
Shape = Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Field(max_length=16)]
Shapes = dict[str, Shape] | list[Shape]
SHAPES = "Input shapes by name or by position, where the file leaves them open."


LIMITS = (
    "max_upper", "max_ratio", "min_certified_share", "monotone", "max_sensitivity", "max_difference", "min_kept_share",
    "max_increase",
)  # fmt: skip
"""Of a gate."""
Direction = Literal["+", "-", "0"]
FeatureNames = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100_000)]


class Gate(Strict):
    """The limits that the verdict is about: pass when all are kept, fail when one is broken."""

    max_upper: float | None = Field(
        default=None, gt=0, description="Pass when the certified upper bound is within this limit."
    )
    max_ratio: float | None = Field(
        default=None,
        ge=1,
        description="Pass when the upper bound is at most this multiple of the lower; inconclusive otherwise.",
    )
    min_certified_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Pass when this share of the data set's rows is rightly predicted and certified up to `radius`.",
    )
    radius: float | None = Field(default=None, gt=0, description="The radius that `min_certified_share` asks for.")
    baseline: Digest | None = Field(default=None, description="SHA-256 of the model that `max_increase` compares with.")
    max_increase: float | None = Field(
        default=None,
        gt=0,
        description="Pass when the certified upper bound is at most this multiple of the baseline's, which is bounded "
        "in the same job with half of its budget; fail when two inputs attain more.",
    )
    max_difference: float | None = Field(
        default=None, gt=0, description="Of a comparison: pass when the models are certified to differ by no more."
    )
    min_kept_share: float | None = Field(
        default=None, gt=0, le=1, description="Of a comparison: pass when this share of the rows keeps its decision."
    )
    monotone: dict[str, Direction] | None = Field(
        default=None,
        min_length=1,
        description="By name of an input's feature, or its place from 0: `+` where no output may fall as it grows, `-` "
        "where none may rise, `0` where none may change; on the domain. Fail where a derivative of the other sign is "
        "attained.",
    )
    max_sensitivity: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        min_length=1,
        description="By name of an input's feature, or its place from 0: the most that any |d f_i / d x_j| may be on "
        "the domain. Fail where a larger one is attained.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.min_certified_share is None) != (self.radius is None):
            raise ValueError("min_certified_share and radius belong together")
        if (self.baseline is None) != (self.max_increase is None):
            raise ValueError("baseline and max_increase belong together")
        if all(getattr(self, name) is None for name in LIMITS):
            raise ValueError(f"a gate needs a limit: {', '.join(LIMITS[:-1])} or {LIMITS[-1]}")
        return self

    @property
    def asks_for_sensitivities(self) -> bool:
        """Whether a limit is about single derivatives."""
        return self.monotone is not None or self.max_sensitivity is not None


class MethodOptions(Strict):
    """Options by method; those that are not given have their defaults."""

    frobenius: NoOptions = Field(default=NoOptions(), description="Options of `frobenius`.")
    autolip: NoOptions = Field(default=NoOptions(), description="Options of `autolip`.")
    autolip_power: AutolipPowerOptions = Field(default=AutolipPowerOptions(), description="Options of `autolip_power`.")
    greedy_seqlip: GreedySeqlipOptions = Field(default=GreedySeqlipOptions(), description="Options of `greedy_seqlip`.")
    seqlip: SeqlipOptions = Field(default=SeqlipOptions(), description="Options of `seqlip`.")
    lipsdp: LipsdpOptions = Field(default=LipsdpOptions(), description="Options of `lipsdp`.")
    exact: ExactOptions = Field(default=ExactOptions(), description="Options of `exact`.")
    jacobian: JacobianOptions = Field(default=JacobianOptions(), description="Options of `jacobian`.")
    dataset: DatasetOptions = Field(default=DatasetOptions(), description="Options of `dataset`.")
    annealing: AnnealingOptions = Field(default=AnnealingOptions(), description="Options of `annealing`.")
    grid: GridOptions = Field(default=GridOptions(), description="Options of `grid`.")
    gradient: GradientOptions = Field(default=GradientOptions(), description="Options of `gradient`.")


class Question(BaseModel):
    """What the answer depends on, beside the model; `AnalysisFields` says how it is asked."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)

    methods: Literal["auto"] | Annotated[list[str], Field(min_length=1)] = Field(
        default="auto", description=f"Methods to run: `auto`, or a list of {', '.join(NAMES)}."
    )
    inputs: Shapes | None = Field(default=None, description=SHAPES)
    input: str | None = Field(
        default=None, description="The input that varies, the others held at zero; null: all of them, end to end."
    )
    output: str | None = Field(
        default=None,
        description="The output that is bounded, or another value of the graph; null: all outputs, end to end; `auto`: "
        "those that do not jump, or else what comes before the jumps.",
    )
    norm: NormName | TwoNorms = Field(
        default="2",
        description="The norm of both spaces; or, as `input` and `output`, one for each: the constant is then the "
        "largest ||f(x) - f(y)|| of the output over ||x - y|| of the input.",
    )
    domain: Domain = Field(default=ALL, description="Where the constant is asked for.")
    target: Target = Field(default=ALL, description="Which output coordinates count.")
    options: MethodOptions = Field(
        default_factory=MethodOptions, description="Options by method; see `GET /v1/methods`."
    )
    dataset: Digest | None = Field(default=None, description="SHA-256 of an uploaded data set.")
    input_scale: Numbers | Literal["dataset", "quantiles"] | None = Field(
        default=None,
        description="How much of each input coordinate is one unit: a number, one a coordinate, or `dataset`, the "
        "standard deviations of its columns, or `quantiles`, the distances between the quantiles 0.05 and 0.95 of its "
        "columns (1 where one does not vary). Constants, witnesses and derivatives are in "
        "these units, and so is a ball's radius; the rest of the domain is in the file's.",
    )
    output_scale: Numbers | Literal["dataset", "quantiles"] | None = Field(
        default=None, description="The same of each output coordinate, before `target` selects some."
    )
    input_names: FeatureNames | None = Field(
        default=None,
        description="Names of the input's entries, all inputs end to end; null: those of the file's tensors.",
    )
    output_names: FeatureNames | None = Field(
        default=None, description="Names of the output's entries, the same way; before `target` selects some."
    )
    certify: bool = Field(
        default=False,
        description="Whether a radius of unchanged prediction is wanted for every row of the data set: in the "
        "request's norm, within the request's domain. A gate with `min_certified_share` asks for them too.",
    )
    rounding: Literal["refuse", "noise"] = Field(
        default="refuse",
        description="What becomes of steps that round (floor, ceil, round, trunc, quantisation, casts to integers and "
        "back): refused, since no finite constant exists where a function jumps; or counted as bounded `noise`, and "
        "then ||f(x) - f(y)|| <= L ||x - y|| + e, with L the bracket's upper end and e the result's `offset`. Not with "
        "`gate`, `certify` or the target `margins`.",
    )
    gate: Gate | None = Field(default=None, description="A limit that turns the bracket into a verdict.")
    budget_s: float = Field(default=60.0, gt=0, description="Time that the methods share, in seconds.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything random.")

    @field_validator("norm")
    @classmethod
    def _short_norm(cls, norm: NormName | TwoNorms) -> NormName | TwoNorms:
        """Two that are the same are one."""
        return norm.input if isinstance(norm, TwoNorms) and norm.input == norm.output else norm

    @model_validator(mode="after")
    def _one_norm(self) -> Self:
        if isinstance(self.norm, TwoNorms) and (self.certify or self.target.kind == "margins"):
            raise ValueError("certify and the target margins are about one norm: `norm` names two")
        return self

    @model_validator(mode="after")
    def _plain_noise(self) -> Self:
        if self.rounding == "noise" and (self.gate is not None or self.certify or self.target.kind == "margins"):
            raise ValueError("rounding: noise has no constant of the model itself for gate, certify or target margins")
        return self

    @field_serializer("options")
    def _given_options(self, options: MethodOptions) -> Document:
        return options.model_dump(mode="json", exclude_unset=True)

    @property
    def center_name(self) -> str | None:
        """The data set that the domain's centre is a row of."""
        center = self.domain.center if isinstance(self.domain, Ball) else None
        return center.partition("#")[0] if isinstance(center, str) else None

    def canonical(self) -> Document:
        """The same question is the same JSON, defaults filled in, and the data set named by its digest."""
        fields = self.model_dump(mode="json", include=set(Question.model_fields))
        if self.center_name is not None:
            fields["dataset"] = self.dataset or self.center_name
            row = fields["domain"]["center"].partition("#")[2]
            fields["domain"]["center"] = f"{fields['dataset']}#{row}"
        return fields
