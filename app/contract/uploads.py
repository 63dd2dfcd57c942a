"""What has been uploaded: models, their graphs, data sets."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from . import examples
from .graph import GraphFacts, TensorView


class FileView(BaseModel):
    """A file that a model consists of."""

    name: str = Field(description="Its path beside the model.")
    sha256: str = Field(description="Its SHA-256.")
    size_bytes: int = Field(description="Its size.")


class ModelView(BaseModel):
    """An uploaded model."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MODEL]})

    id: str = Field(description="SHA-256 of the file; of several files, that of their sorted lines `<sha256>  <name>`.")
    name: str = Field(description="The name that it was uploaded under.")
    format: str = Field(description="onnx, torchscript or torch_export.")
    size_bytes: int = Field(description="Size of the file.")
    files: list[FileView] = Field(description="One, or an ONNX model with the files that hold its weights.")
    created_at: datetime = Field(description="When it was uploaded first.")
    inputs: list[TensorView] = Field(description="Inputs as the file declares them.")
    outputs: list[TensorView] = Field(description="Outputs as the file declares them.")
    parameters: int = Field(description="Numbers that the file stores.")
    operators: dict[str, int] = Field(description="Operators of the file's graph, with their number.")
    unsupported: list[str] = Field(description="Operators without a rule.")
    warnings: list[str] = Field(description="What a user of the model should know.")


class ModelPage(BaseModel):
    """Models, newest first."""

    models: list[ModelView] = Field(description="This page of them.")
    next_page_token: str | None = Field(description="For the query parameter `page_token`; null on the last page.")


class GraphView(GraphFacts):
    """A captured graph, each node after those that it reads."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.GRAPH]})

    model: str = Field(description="SHA-256 of the model.")


class ArrayView(BaseModel):
    """One stored array."""

    datatype: str = Field(description="Type of an entry: FP32, INT64, ...")
    shape: list[int] = Field(description="Rows first.")


class DatasetView(BaseModel):
    """An uploaded data set."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DATASET]})

    id: str = Field(description="SHA-256 of the file.")
    name: str = Field(description="The name that it was uploaded under.")
    size_bytes: int = Field(description="Size of the file.")
    created_at: datetime = Field(description="When it was uploaded first.")
    inputs: ArrayView = Field(description="One row a sample: flat, or in the shape of the model's input.")
    labels: ArrayView | None = Field(description="One class a sample; null without.")


class DatasetPage(BaseModel):
    """Data sets, newest first."""

    datasets: list[DatasetView] = Field(description="This page of them.")
    next_page_token: str | None = Field(description="For the query parameter `page_token`; null on the last page.")
