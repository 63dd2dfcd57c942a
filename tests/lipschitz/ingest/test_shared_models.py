"""Third-party models: captured with the gate passed, or refused for the reason on record here."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import pytest

from app.lipschitz.errors import LipschitzError
from app.lipschitz.ingest import capture
from tests.effort import sampled

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"

REFUSED = {
    "super_resolution.onnx": "invalid-model",
    "super_resolution_pytorch_superresolution_with_pre_post_processing_op18.onnx": "unsupported-operator",
    "silero-vad_silero_vad.jit": "stateful-model",
    "silero-vad_silero_vad_16k_op15.onnx": "unsupported-operator",
    "ios_mobilenet_quantized.pt": "unsupported-operator",
    "ios_reddit.pt": "unsupported-operator",
    "unitree_motion.pt": "stateful-model",
    "unitree_motion_2.pt": "stateful-model",
    "unitree_motion_3.pt": "stateful-model",
    "yunet_n_dynamic.onnx": "invalid-inputs",
}


def listed() -> list[dict[str, str]]:
    manifest = MODELS / "MANIFEST.tsv"
    if not manifest.exists():
        return []
    with manifest.open() as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def outcome(row: dict[str, str]) -> str:
    shapes = None
    if row["format"] == "torchscript":
        shapes = [shape for shape in ast.literal_eval(row["inputs"]) if isinstance(shape, list)]
    try:
        capture((MODELS / row["file"]).read_bytes(), shapes)
    except LipschitzError as refusal:
        return refusal.slug
    return "captured"


@pytest.mark.shared
@pytest.mark.skipif(not listed(), reason="no shared models beside the repository")
@pytest.mark.parametrize("row", sampled(listed(), every=5), ids=lambda row: row["file"])
@pytest.mark.filterwarnings("ignore")
def test_model(row: dict[str, str]) -> None:
    assert outcome(row) == REFUSED.get(Path(row["file"]).name, "captured")
