"""The registry's side of the example: run it with a Python that has mlflow and onnx.

    python registry.py watch  HOOK_URL SECRET              have the registry tell the service of new versions
    python registry.py log    NAME MODEL.onnx [1,4]        log the model, register it, print its version
    python registry.py script NAME MODEL.pt 1,4            the same for a TorchScript file (needs torch)
    python registry.py tags   NAME VERSION                 wait for the service's tags and print them as JSON

The server is the one of MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import json
import sys
import time

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

WAIT_S = 120
PREFIX = "lipschitz."


def main(arguments: list[str]) -> None:
    """Run one command."""
    command, *given = arguments
    print({"watch": watch, "log": log, "script": script, "tags": tags}[command](*given))


def watch(url: str, secret: str) -> str:
    """The id of a webhook that is called for every new version and alias."""
    events = ["model_version.created", "model_version_alias.created"]
    return mlflow.MlflowClient().create_webhook(name="lipserve", url=url, events=events, secret=secret).webhook_id


def log(name: str, path: str, shape: str | None = None) -> str:
    """The version that the ONNX file became; with its input's shape as the signature, if it is given."""
    import onnx

    with mlflow.start_run():
        model = onnx.load(path)
        found = mlflow.onnx.log_model(model, name="model", registered_model_name=name, signature=signature(shape))
    return str(found.registered_model_version)


def script(name: str, path: str, shape: str) -> str:
    """The version that the TorchScript file became."""
    import torch

    with mlflow.start_run():
        model = torch.jit.load(path)
        found = mlflow.pytorch.log_model(
            model,
            name="model",
            registered_model_name=name,
            signature=signature(shape),
            serialization_format="pickle",
            pip_requirements=["torch"],
        )
    return str(found.registered_model_version)


def signature(shape: str | None) -> ModelSignature | None:
    """A signature of one float32 input; -1 stands for an open size."""
    if shape is None:
        return None
    sizes = tuple(map(int, shape.split(",")))
    return ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), sizes)]))


def tags(name: str, version: str) -> str:
    """The tags that the service wrote, as JSON."""
    client, deadline = mlflow.MlflowClient(), time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = client.get_model_version(name, version).tags
        # The verdict is written last.
        if f"{PREFIX}verdict" in found:
            return json.dumps({key: value for key, value in found.items() if key.startswith(PREFIX)}, indent=2)
        time.sleep(0.2)
    raise TimeoutError(f"no tags on version {version} of {name} after {WAIT_S} s")


if __name__ == "__main__":
    main(sys.argv[1:])
