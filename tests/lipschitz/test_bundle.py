"""A model and the files beside it are one file of the same function; damaged and lying bundles are refused by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz import files
from app.lipschitz.bundle import LENGTH, MARK, digest, path_of
from app.lipschitz.errors import InvalidModel, LipschitzError, MissingData, SurplusData
from app.lipschitz.ingest import capture, capture_artifact, inspect
from tests.effort import examples
from tests.lipschitz.bundles import bundle_of, identity_of, network, point, split

PLACES = {"w": "weights/first.bin"}


def test_the_same_function_in_one_file_and_in_three() -> None:
    files = split(PLACES)
    assert set(files) == {"m.onnx", "m.onnx.data", "weights/first.bin"}
    assert capture_artifact(bundle_of(files)) == capture_artifact(network())
    assert inspect(bundle_of(files)).parameters == inspect(network()).parameters


def test_what_names_a_bundle_is_what_sha256sum_says_of_its_files() -> None:
    files = split(PLACES)
    lines = sorted(f"{hashlib.sha256(file).hexdigest()}  {name}\n" for name, file in files.items())
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert digest(bundle_of(files)) == expected
    assert digest(bundle_of(dict(reversed(files.items())))) == expected
    assert digest(network()) == hashlib.sha256(network()).hexdigest()


def test_names_that_are_missing_or_too_many_are_told() -> None:
    files = split(PLACES)
    with pytest.raises(MissingData, match=r"'weights/first\.bin'"):
        inspect(bundle_of({name: file for name, file in files.items() if name != "weights/first.bin"}))
    with pytest.raises(MissingData, match=r"'m\.onnx\.data', 'weights/first\.bin'"):
        inspect(files["m.onnx"])
    with pytest.raises(MissingData, match=r"first\.bin'.*Sent was 'first\.bin'"):
        inspect(bundle_of({name.rpartition("/")[2]: file for name, file in files.items()}))
    with pytest.raises(SurplusData, match=r"'notes\.bin'"):
        inspect(bundle_of(files | {"notes.bin": b"x"}))


def tampered(change: Callable[[onnx.TensorProto], object]) -> bytes:
    files = split()
    model = onnx.load_model_from_string(files["m.onnx"])
    tensor = model.graph.initializer[0]
    place = {entry.key: entry.value for entry in tensor.external_data}
    tensor.ClearField("external_data")
    change(tensor)
    if not tensor.external_data:
        point(tensor, **place)
    return bundle_of(files | {"m.onnx": model.SerializeToString()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensor: point(tensor, "m.onnx.data", offset=10**6, length=120), "has 180 bytes"),
        (lambda tensor: point(tensor, "m.onnx.data", offset=100, length=120), "has 180 bytes"),
        (lambda tensor: point(tensor, "m.onnx.data", offset=0, length=4), "takes 120 bytes"),
        (lambda tensor: point(tensor, "m.onnx.data", offset=0, length=180), "takes 120 bytes"),
        (lambda tensor: point(tensor, "m.onnx.data", offset=-1), "not a number"),
        (lambda tensor: point(tensor, "../m.onnx.data"), "beside the model"),
        (lambda tensor: point(tensor, "/etc/passwd"), "beside the model"),
        (lambda tensor: tensor.dims.__setitem__(0, 2**40), "takes"),
        (lambda tensor: tensor.dims.__setitem__(0, -6), "cannot lie"),
        (lambda tensor: setattr(tensor, "data_type", onnx.TensorProto.STRING), "cannot lie"),
    ],
)
def test_places_that_are_none_are_refused(change: Callable[[onnx.TensorProto], object], words: str) -> None:
    with pytest.raises(InvalidModel, match=words):
        inspect(tampered(change))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../b", "", ".", "a\\b", "a\nb", "a\0b", "x" * 300])
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(InvalidModel, match="beside the model"):
        path_of(name)


def test_names_have_one_form() -> None:
    assert path_of("./a//b") == path_of("a/b") == "a/b"


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other.onnx"},
        {"files": []},
        {"files": [{"name": "m.onnx", "sha256": "", "size_bytes": -1}]},
        {"files": [{"name": "m.onnx"}]},
        {"files": 3},
    ],
)
def test_manifests_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    manifest = json.dumps({"model": "m.onnx", "files": []} | change).encode()
    data = network() + manifest + len(manifest).to_bytes(LENGTH, "little") + MARK
    with pytest.raises(InvalidModel):
        capture(data)


@given(st.integers(1, 400), st.binary(min_size=1, max_size=4))
@examples(100)
def test_damaged_bundles_are_refused(from_end: int, patch: bytes) -> None:
    data = bytearray(bundle_of(split()))
    data[-from_end : len(data) - from_end + len(patch)] = patch
    try:
        capture(bytes(data))
    except LipschitzError:
        return


def test_the_identity_is_that_of_a_shell() -> None:
    files = {"b.onnx": b"2", "a.data": b"1"}
    listing = "".join(sorted(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()))
    assert identity_of(files) == hashlib.sha256(listing.encode()).hexdigest()


@pytest.mark.parametrize(
    "manifest",
    [
        {"model": "m", "files": [{"name": "m", "sha256": "", "size_bytes": 5.0}]},
        {"model": ["m"], "files": [{"name": "m", "sha256": "", "size_bytes": 5}]},
        {"model": "m", "files": [{"name": 5, "sha256": "", "size_bytes": 5}]},
        {"model": "m", "files": []},
        [],
    ],
    ids=str,
)
def test_a_manifest_of_other_types_is_refused_by_all_that_read_it(manifest: object) -> None:
    text = json.dumps(manifest).encode()
    data = b"abcde" + text + len(text).to_bytes(LENGTH, "little") + MARK
    for read in (capture, digest):
        with pytest.raises(InvalidModel):
            read(data)
    answer = files.verify(data, b"{}")
    assert answer["valid"] is False
