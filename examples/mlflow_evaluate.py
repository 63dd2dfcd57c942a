"""The evaluator `lipserve` of `mlflow.models.evaluate`: a version in production, and two that may follow it.

    MLFLOW_TRACKING_URI=... LIPSERVE_URL=... python examples/mlflow_evaluate.py

Needs mlflow, onnx, onnxruntime and lipserve-client. Prints what became of both as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import onnx
from mlflow.models.evaluation.validation import ModelValidationFailedException
from onnx import numpy_helper
from sklearn.datasets import load_iris

NAME = "iris"
CONFIG = {
    "norm": "2",
    "domain": {"kind": "box", "lower": 0, "upper": 8},
    "methods": ["autolip", "exact", "gradient"],
    "radius": 0.05,
    "baseline": f"models:/{NAME}@production",
    "gate": {"max_increase": 1.1, "max_difference": 10},
}


def version_of(factor: float) -> str:
    """The registered version of the model whose last weights are so many times as large."""
    model = onnx.load(Path(__file__).parent / "iris.onnx")
    last = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 2][-1]
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) * factor, last.name))
    with mlflow.start_run():
        logged = mlflow.onnx.log_model(model, name="model", registered_model_name=NAME)
    return str(logged.registered_model_version)


def evaluated(version: str) -> dict[str, object]:
    """The metrics of a version, and what MLflow raises where its gate does not pass."""
    data = load_iris(as_frame=True).frame
    with mlflow.start_run() as run:
        try:
            mlflow.models.evaluate(
                f"models:/{NAME}/{version}",
                data,
                targets="target",
                model_type="classifier",
                evaluators="lipserve",
                evaluator_config=CONFIG,
            )
            raised = None
        except ModelValidationFailedException as error:
            raised = str(error)
    client = mlflow.MlflowClient()
    files = [file.path for file in client.list_artifacts(run.info.run_id, "lipserve")]
    return {"raised": raised, "artifacts": files, "metrics": client.get_run(run.info.run_id).data.metrics}


def main() -> None:
    """Production, a version a little steeper, and one that is twice as steep."""
    first = version_of(1.0)
    mlflow.MlflowClient().set_registered_model_alias(NAME, "production", first)
    told = {factor: evaluated(version_of(factor)) for factor in (1.01, 2.0)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
