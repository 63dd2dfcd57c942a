"""Small ONNX models whose weights lie in files beside them, as onnx and torch write them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import onnx
from onnx import TensorProto

from app.lipschitz.bundle import Member, identity, trailer
from tests.lipschitz.ingest.onnx_models import node, onnx_bytes, weights

NODES = [node("Gemm", ["x", "w"], ["h"]), node("Relu", ["h"], ["a"]), node("Gemm", ["a", "v"], ["y"])]


def network(seed: int = 0) -> bytes:
    """x -> relu(x w) v with x of 1 x 6, in one file."""
    return onnx_bytes(NODES, {"x": [1, 6]}, ["y"], {"w": weights(6, 5, seed=seed), "v": weights(5, 3, seed=seed + 1)})


def split(places: Mapping[str, str] = {}, seed: int = 0) -> dict[str, bytes]:
    """The same as `m.onnx` and the files beside it; `places` are files by tensor, `m.onnx.data` for others."""
    model = onnx.load_model_from_string(network(seed))
    files: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        name = places.get(tensor.name, "m.onnx.data")
        point(tensor, name, offset=len(files.get(name, b"")), length=len(tensor.raw_data))
        files[name] = files.get(name, b"") + tensor.raw_data
        tensor.ClearField("raw_data")
    return {"m.onnx": model.SerializeToString()} | files


def point(tensor: TensorProto, location: str, **place: object) -> None:
    """Have a tensor lie elsewhere."""
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))


def members(files: Mapping[str, bytes]) -> list[Member]:
    return [Member(name, hashlib.sha256(file).hexdigest(), len(file)) for name, file in files.items()]


def bundle_of(files: Mapping[str, bytes], model: str = "m.onnx") -> bytes:
    """The files as one."""
    return b"".join((*files.values(), trailer(model, members(files))))


def identity_of(files: Mapping[str, bytes]) -> str:
    return identity(members(files))
