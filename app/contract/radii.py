"""Radii of unchanged prediction around the rows of a data set, row by row and together."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .part import Part


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Curve = list[Annotated[tuple[float, float], BeforeValidator(_as_tuple)]]


class SampleView(Part):
    """One row's certificate of robustness."""

    index: int = Field(description="The row of the data set, from 0.")
    label: int | None = Field(description="The row's label; null where the data set has none.")
    prediction: int = Field(description="The class that the network predicts.")
    radius: float | None = Field(
        description="No input within this distance, in the request's norm and domain, changes the prediction; "
        "null where none does at any distance."
    )
    reason: str | None = Field(default=None, description="Why the radius is null.")
    against: int | None = Field(description="The class that limits the radius.")
    method: str = Field(
        description="`global` from constants of the whole network, `linear` from linear bounds of the margins on a "
        "ball, `split` from such bounds on its parts, `local` from constants on a ball."
    )
    attacked: float | None = Field(
        default=None,
        description="Distance of the nearest input found that changes the prediction, which is proved of it; null "
        "without one.",
    )


class ClassView(Part):
    """What is known of the rows of one class: by their labels, or by prediction where there are none."""

    label: int = Field(description="The class.")
    rows: int = Field(description="Its rows.")
    right: int = Field(description="Those that are rightly predicted.")
    mean: float | None = Field(
        description="Mean certified radius, 0 for wrong predictions; null where one is infinite."
    )


class WorstView(SampleView):
    """A rightly predicted row with one of the smallest radii."""

    prediction_there: int | None = Field(default=None, description="What is predicted at the nearest input found.")
    input: list[float] | None = Field(default=None, description="The row, where it is small.")
    adversarial: list[float] | None = Field(default=None, description="The nearest input found, where it is small.")


class AskedView(Part):
    """What is known at the radius that a gate asks for."""

    radius: float = Field(description="The radius.")
    certified: int = Field(description="Rows that are rightly predicted and certified up to it.")
    fallen: int = Field(description="Rightly predicted rows whose prediction is known to change within it.")


class RadiiView(Part):
    """What the radii of a data set say together; shares are of all its rows."""

    rows: int = Field(description="Rows of the data set.")
    evaluated: int = Field(description="Those that were looked at: in the domain, and in time.")
    right: int = Field(description="Those that are rightly predicted; without labels all that were looked at.")
    mean: float | None = Field(
        description="Mean certified radius of the rows that were looked at, 0 for wrong predictions; null where one is "
        "infinite."
    )
    median: float | None = Field(description="Half of the rightly predicted rows are certified so far; null for any.")
    certified: Curve = Field(description="Certified accuracy: from each radius on, the share that is certified beyond.")
    ceiling: Curve = Field(
        description="The same of the distances at which predictions are known to change: no method can certify more."
    )
    asked: AskedView | None = Field(default=None, description="At the gate's radius; null without one.")
    methods: dict[str, int] = Field(description="How many radii each kind of bound gave.")
    classes: list[ClassView] = Field(description="Class by class.")
    worst: list[WorstView] = Field(description="Rightly predicted rows with the smallest radii, smallest first.")
    shape: list[int] = Field(default=[], description="Shape of a row as the model reads it.")
