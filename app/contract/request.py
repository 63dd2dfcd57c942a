"""The bodies of requests: a question, and what the service should do with its job."""

from __future__ import annotations

import json
from typing import ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from .domain import Digest, Document, Strict
from .methods import method_named
from .question import NAMES, SHAPES, Question, Shapes

MAX_METADATA_BYTES = 16 * 2**10
MAX_PRIORITY = 9
"""Of all jobs."""
DEFAULT_PRIORITY = 5
"""Of jobs that name none, and the most that a key allows unless it was given more."""


class AnalysisFields(Question):
    """Everything that an analysis may be asked for; all fields have defaults."""

    of_two: ClassVar[bool] = False
    """Whether it is about two models."""

    model_config = ConfigDict(extra="forbid")

    timeout_s: float | None = Field(default=None, gt=0, description="Hard time limit, in seconds; null: the service's.")
    queue_timeout_s: float | None = Field(
        default=None, gt=0, description="Longest wait in the queue, in seconds; null: the service's."
    )
    priority: int = Field(
        default=DEFAULT_PRIORITY,
        ge=0,
        le=MAX_PRIORITY,
        description="Jobs of a higher priority start first; 403 above what the key allows, 5 unless it was given more.",
    )
    webhook_url: str | None = Field(
        default=None, description="Where the job's end is told, by Standard Webhooks; http or https, a public address."
    )
    metadata: Document = Field(default={}, description="Yours; kept with the job and not looked at.")

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: str | list[str]) -> str | list[str]:
        if methods in ("auto", ["auto"]):
            return "auto"
        unknown = [name for name in methods if name not in NAMES]
        if unknown:
            raise ValueError(f"unknown method {unknown[0]!r}; there are {', '.join(NAMES)}, and 'auto' alone")
        return list(dict.fromkeys(methods))

    @field_validator("options", mode="before")
    @classmethod
    def _known_options(cls, options: object) -> object:
        """What is wrong with them, in words that name the method and the limits."""
        for name, given in options.items() if isinstance(options, dict) else ():
            method = method_named(name)
            if method is None:
                raise ValueError(f"options for the unknown method {name!r}")
            if isinstance(given, dict):
                method.checked(given)
        return options

    @field_validator("metadata")
    @classmethod
    def _small_metadata(cls, metadata: Document) -> Document:
        if len(json.dumps(metadata, allow_nan=False)) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata may take {MAX_METADATA_BYTES} bytes as JSON")
        return metadata

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        limits = {"max_difference", "min_kept_share"} & (self.gate.model_fields_set if self.gate else set())
        if limits and not self.of_two:
            raise ValueError(f"gate.{min(limits)} is about two models: POST /v1/comparisons")
        if self.of_two and self.rounding == "noise":
            raise ValueError("rounding: noise is not served where two models are compared")
        return self

    @model_validator(mode="after")
    def _one_dataset(self) -> Self:
        named = self.center_name
        if named == "dataset" and self.dataset is None:
            raise ValueError("domain.center names a row of `dataset`, which is not given")
        if (
            {"dataset", "quantiles"} & {one for one in (self.input_scale, self.output_scale) if isinstance(one, str)}
            and self.dataset is None
            and named is None
        ):
            raise ValueError("input_scale or output_scale asks for the columns of `dataset`, which is not given")
        if named not in (None, "dataset", self.dataset or named):
            raise ValueError("domain.center names another data set than `dataset`")
        return self


class GraphRequest(Strict):
    """What a model's graph may be asked for with."""

    inputs: Shapes | None = Field(default=None, description=SHAPES)


class JobRequest(AnalysisFields):
    """The body of `POST /v1/jobs`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "methods": ["autolip", "gradient"],
                    "norm": "2",
                    "gate": {"max_upper": 100.0},
                    "budget_s": 60,
                }
            ]
        }
    )

    model: Digest = Field(description="SHA-256 of an uploaded model.")
