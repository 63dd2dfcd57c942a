"""What each method may be told: its options with their defaults, limits and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Value = int | float | str | bool
JsonType = Literal["integer", "number", "string", "boolean"]
JSON_TYPES: dict[object, JsonType] = {int: "integer", float: "number", str: "string", bool: "boolean"}


class Options(BaseModel):
    """A method's options; unknown ones, NaN and Infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class NoOptions(Options):
    """Of a method that needs to be told nothing."""


NO_OPTIONS = NoOptions()


Seconds = Annotated[float, Field(ge=0.01, le=86_400, description="time limit, within the job's budget")]
Scale = Annotated[float, Field(ge=1e-6, le=1e6, description="standard deviation of the starting points")]


class AutolipPowerOptions(Options):
    """The options that `autolip_power` has."""

    iterations: int = Field(default=100, ge=1, le=10_000, description="power iterations per affine block")


class GreedySeqlipOptions(Options):
    """The options that `greedy_seqlip` has."""

    search: Literal["greedy", "ascent"] = Field(
        default="greedy", description="greedy flips as published, or sign ascent from many starts"
    )
    restarts: int = Field(default=32, ge=1, le=4096, description="starting patterns of the sign ascent, in one batch")
    seconds: Seconds = 60.0


class SeqlipOptions(Options):
    """The options that `seqlip` has."""

    gap: float = Field(
        default=1e-3, ge=1e-9, le=1.0, description="relative gap at which a pair's enclosure is closed enough"
    )
    seconds: Seconds = 60.0


class LipsdpOptions(Options):
    """The options that `lipsdp` has."""

    form: Literal["layer", "neuron", "network"] = Field(
        default="neuron", description="one multiplier per neuron or per layer; network is refused, since it is no bound"
    )
    split_size: int = Field(
        default=0, ge=0, le=10_000, description="affine layers a piece of a chain; 0: the whole chain at once"
    )
    gap: float = Field(
        default=1e-7, ge=1e-9, le=1.0, description="relative gap to the relaxation's optimum at which to stop"
    )
    seconds: Seconds = 600.0


class ExactOptions(Options):
    """The options that `exact` has."""

    gap: float = Field(default=1e-4, ge=0.0, le=1.0, description="relative gap of the bracket at which to stop")
    seconds: Seconds = 600.0


class JacobianOptions(Options):
    """The options that `jacobian` has."""

    seconds: Seconds = 60.0


class DatasetOptions(Options):
    """The options that `dataset` has."""

    seconds: Seconds = 10.0


class AnnealingOptions(Options):
    """The options that `annealing` has."""

    chains: int = Field(default=64, ge=1, le=65_536, description="chains, moved in one batch")
    steps: int = Field(
        default=500, ge=1, le=1_000_000, description="moves a chain at most (the time limit may end them)"
    )
    seconds: Seconds = 5.0
    scale: Scale = 1.0


class GridOptions(Options):
    """The options that `grid` has."""

    points: int = Field(default=10_000, ge=1, le=100_000_000, description="grid points at most")
    seconds: Seconds = 5.0
    scale: float = Field(
        default=1.0, ge=1e-6, le=1e6, description="half the side of the grid's cube on the whole space"
    )


class GradientOptions(Options):
    """The options that `gradient` has."""

    restarts: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="starting points, ascended in one batch; four times as many where all scouts fit",
    )
    steps: int = Field(default=24, ge=1, le=100_000, description="ascent steps at most (the time budget may end them)")
    seconds: float = Field(
        default=60.0, ge=0.01, le=86_400, description="time limit of the search, within the job's budget"
    )
    scouts: int = Field(
        default=8192,
        ge=0,
        le=10_000_000,
        description="points scattered for starts where they are cheap enough; 0: none",
    )
    climbers: int = Field(default=512, ge=1, le=65_536, description="points that go on by random moves at most")
    rounds: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="rounds of the deep search afterwards; 40 where `auto` ends with it",
    )
    scale: Scale = 1.0


Searching = DatasetOptions | AnnealingOptions | GridOptions | GradientOptions
"""Of methods that search for lower bounds as long as they may."""


@dataclass(frozen=True)
class OptionInfo:
    """One option as `GET /v1/methods` tells it: JSON type, default, inclusive limits or allowed values, meaning."""

    type: JsonType
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, field: FieldInfo) -> OptionInfo:
        """What a field of `Options` says of itself."""
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        return cls(
            type="string" if choices else JSON_TYPES[field.annotation],
            default=field.default,
            description=field.description or "",
            minimum=_limit(field, Ge, "ge"),
            maximum=_limit(field, Le, "le"),
            choices=choices,
        )


def _limit(field: FieldInfo, kind: type[Ge] | type[Le], name: str) -> float | None:
    limits: list[Any] = [getattr(one, name) for one in field.metadata if isinstance(one, kind)]
    return limits[0] if limits else None
