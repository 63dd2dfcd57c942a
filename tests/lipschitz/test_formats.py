"""Files are told apart by content; what is no model is refused, hostile directories are not read."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.lipschitz.errors import InvalidModel, NotAModel, TooLarge
from app.lipschitz.formats import MAX_DIRECTORY_BYTES, detect
from app.worker.warmup import tiny_model

LIMIT = 2**30


def archive(*names: str, size: int = 1) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, b"\0" * size)
    return buffer.getvalue()


def detected(tmp_path: Path, data: bytes, limit: int = LIMIT) -> str:
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        return detect(file, limit)


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (tiny_model(), "onnx"),
        (tiny_model()[:-20], "onnx"),
        (archive("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py", "m/version"), "torchscript"),
        (archive("archive/models/model.json", "archive/archive_format"), "torch_export"),
        (archive("serialized_exported_program.json", "version"), "torch_export"),
    ],
)
def test_formats_are_told_apart(tmp_path: Path, data: bytes, format_: str) -> None:
    assert detected(tmp_path, data) == format_


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world",
        b'{"source": 1}',
        b"\x1f\x8b\x08" + bytes(100),
        b"\x80\x04\x95" + bytes(100),
        b"\x93NUMPY" + bytes(100),
        bytes(100),
        b"\x08",
        b"\x08\x08",
        b"\x08\x08" * 200_000,
        archive("m/data.pkl", "m/version"),
        archive("a.txt"),
    ],
)
def test_other_files_are_no_models(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(NotAModel):
        detected(tmp_path, data)


def test_a_truncated_archive_is_an_invalid_model(tmp_path: Path) -> None:
    whole = archive("m/constants.pkl", "m/code/a.py", size=1000)
    for cut in (10, len(whole) // 2, len(whole) - 10):
        with pytest.raises(InvalidModel):
            detected(tmp_path, whole[:cut])


def test_the_sum_of_unpacked_sizes_is_limited(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        detected(tmp_path, archive("m/constants.pkl", "m/code/a.py", size=2**20), limit=2**20)


@pytest.mark.parametrize("zip64", [False, True])
def test_a_huge_directory_is_not_read(tmp_path: Path, zip64: bool) -> None:
    size = MAX_DIRECTORY_BYTES + 1
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 4, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 9, 9, 0 if zip64 else size, 0, 0)
    data = b"PK\3\4" + (record + locator if zip64 else b"") + end
    with pytest.raises(InvalidModel, match="directory"):
        detected(tmp_path, data)


@pytest.mark.parametrize("has_locator", [False, True])
def test_a_small_record_beside_it_does_not_hide_a_huge_directory(tmp_path: Path, has_locator: bool) -> None:
    """Readers take the end's own size where no locator leads to the record, and the outermost record where one does."""
    size = MAX_DIRECTORY_BYTES + 1
    real = struct.pack("<4sII", b"PK\6\6", 44, int.from_bytes(b"PK\6\6", "little")) + struct.pack(
        "<HHIIQQQQ", 45, 45, 0, 0, 9, 9, size, 9
    )
    decoy = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 9, 9, 9, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 4, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 9, 9, 2**32 - 1 if has_locator else size, 0, 0)
    with pytest.raises(InvalidModel, match="directory is larger"):
        detected(tmp_path, b"PK\3\4" + (real + locator if has_locator else decoy) + end)


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    whole = archive("m/constants.pkl", "m/code/a.py", "x")
    nameless = whole.replace(b"x", b"\0")
    with pytest.raises(InvalidModel, match="name"):
        detected(tmp_path, nameless)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_never_crash_the_check(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("random") / "file"
    for content in (data, b"PK\3\4" + data, b"\x08\x08" + data, b"PK\3\4" + data + b"PK\5\6" + data[:18]):
        path.write_bytes(content)
        try:
            with path.open("rb") as file:
                detect(file, LIMIT)
        except (NotAModel, InvalidModel, TooLarge):
            continue
