"""ResNet-50 from an ONNX file to its certified AutoLip bound: seconds a phase, peak memory, tightness.

    python -m benchmarks.resnet50 [--power 100]

torchvision's network with random weights, 3 x 224 x 224, exported by torch's current exporter (needs the `dev`
extra). The certified norms are then compared with the power iteration's on the same affine blocks: `excess` is
certified / power - 1, of which the power iteration's underestimate is a part.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from app.lipschitz.deadline import NEVER
from app.lipschitz.files import analyze
from app.lipschitz.formulation import make_problem
from app.lipschitz.ingest import capture
from app.lipschitz.network.nodes import Affine, Concat
from app.lipschitz.operators import LinearOperator, norm, power_method
from app.lipschitz.request import Request


def export(path: Path) -> None:
    """Writes the network; run in a process of its own, whose memory does not count."""
    import torch
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None).eval()
    program = torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), dynamo=True, verbose=False)
    assert program is not None
    path.write_bytes(program.model_proto.SerializeToString())


def exported() -> bytes:
    """The ONNX file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        child = multiprocessing.get_context("spawn").Process(target=export, args=(path,))
        child.start()
        child.join()
        return path.read_bytes()


def end_to_end(data: bytes) -> None:
    """Prints the bound, the seconds of reading (parse, capture, checks, network) and of the walk, and the peak."""
    marks: list[tuple[str, float]] = []

    def mark(event: dict[str, Any]) -> None:
        marks.append((str(event["phase"]), time.perf_counter()))

    result = analyze(data, {"methods": ["autolip"], "budget_s": 600.0}, mark)["result"]
    marks.append(("done", time.perf_counter()))
    for (phase, begun), (_, ended) in pairwise(marks):
        print(f"{phase:12}{ended - begun:9.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"total       {marks[-1][1] - marks[0][1]:9.2f} s, peak memory {peak:.2f} GiB, file {len(data) / 2**20:.0f} MiB"
    )
    print(f"certified AutoLip bound {result['upper']['value']:.6g}")


def blocks(data: bytes) -> list[LinearOperator]:
    """The affine blocks of the network, in order."""
    fields = {"methods": ["autolip"], "budget_s": 600.0}
    problem = make_problem(capture(data), Request.parse(fields), NEVER, lambda _: None)
    affine = (node for node in problem.network.nodes if isinstance(node, Affine | Concat))
    return [term.operator for node in affine for term in node.terms]


def against_power(operators: list[LinearOperator], iterations: int) -> None:
    """Prints seconds of both ways to find the norms, and by how much the certified ones exceed the others."""
    begun = time.perf_counter()
    certified = np.array([norm(operator, "2").upper for operator in operators])
    between = time.perf_counter()
    power = np.array([power_method(operator, iterations) for operator in operators])
    ended = time.perf_counter()
    excess = certified / power - 1
    ratio = (between - begun) / (ended - between)
    print(f"{len(operators)} blocks: certified {between - begun:.2f} s, power iteration x{iterations} "
          f"{ended - between:.2f} s, ratio {ratio:.3f}")  # fmt: skip
    print(f"excess of certified over power: median {np.median(excess):.3%}, largest {excess.max():.3%}")


def main() -> None:
    """Parses the command line and prints both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--power", type=int, default=100, help="power iterations per block, 0 to skip")
    arguments = parser.parse_args()
    data = exported()
    end_to_end(data)
    if arguments.power:
        against_power(blocks(data), arguments.power)


if __name__ == "__main__":
    main()
