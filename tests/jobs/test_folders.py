"""Archives of a folder become the bundle that their files would be in a form; hostile ones leave nothing behind."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Problem
from app.jobs.folders import joined
from app.lipschitz.bundle import split as parts_of
from app.refusals import InvalidModel, MissingData, NotAModel, SurplusData, TooLarge
from app.store.blobs import Blobs
from tests.effort import examples
from tests.lipschitz.bundles import bundle_of, identity_of, network, split

MIB = 2**20
FILES = split({"w": "weights/first.bin"})


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return buffer.getvalue()


def special(kind: bytes, name: str = "m.onnx.data", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


class Intake:
    """What a service does with an upload, without a service."""

    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(root, 64 * MIB, 0)
        self._staging = root / "staging"

    def joined(self, data: bytes, max_unpacked: int = 64 * MIB) -> tuple[str, str, bytes]:
        """Name, identity and bytes of what the upload is taken for."""
        staged = self.blobs.stage()
        result = staged
        try:
            staged.write(data)
            result, name = joined(staged, "upload", self.blobs.stage, max_unpacked)
            return name, result.sha256, result.path.read_bytes()
        finally:
            result.close()
            staged.close()

    def refusal(self, data: bytes, max_unpacked: int = 64 * MIB) -> str:
        """Why it is not taken; nothing is left."""
        with pytest.raises(Problem) as caught:
            self.joined(data, max_unpacked)
        assert list(self._staging.iterdir()) == []
        return f"{caught.value.slug}: {caught.value.detail}"


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(tmp_path)


@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: zipped(files, zipfile.ZIP_STORED)])
@pytest.mark.parametrize("folder", ["", "net/", "./a/b/"])
def test_a_folder_is_the_bundle_of_its_files(intake: Intake, pack: type, folder: str) -> None:
    name, identity, data = intake.joined(pack({folder + name: file for name, file in FILES.items()}))
    assert (name, identity) == ("m.onnx", identity_of(FILES))
    assert parts_of(data).model == FILES["m.onnx"]
    assert {name: bytes(file) for name, file in parts_of(data).files.items()} == {
        name: file for name, file in FILES.items() if name != "m.onnx"
    }


def test_folders_of_mlflow_and_of_the_hub_are_taken_as_they_are(intake: Intake) -> None:
    documents = {
        "MLmodel": b"flavors:", "conda.yaml": b"", "requirements.txt": b"", "README.md": b"", ".gitattributes": b"",
        "__MACOSX/._m.onnx": b"", "config.json": b"{}", "model.safetensors": b"", "pytorch_model.bin": b"",
    }  # fmt: skip
    hub = {f"onnx/{name}": file for name, file in FILES.items()}
    others = {"onnx/m_fp16.onnx": b"", "onnx/m_fp16.onnx_data": b""}
    plain = {name.replace("m.onnx", "model.onnx"): file for name, file in hub.items()}
    assert intake.joined(zipped(documents | hub))[:2] == ("m.onnx", identity_of(FILES))
    name, _, data = intake.joined(tarred(documents | plain | others))
    assert name == "model.onnx"
    assert set(parts_of(data).files) == {"model.onnx.data", "weights/first.bin"}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_of_one_model_is_that_model(intake: Intake, pack: type) -> None:
    name, _, data = intake.joined(pack({"net/m.onnx": network(), "net/MLmodel": b""}))
    assert (name, data) == ("m.onnx", network())
    program = zipped({"m/constants.pkl": b"", "m/code/a.py": b""})
    assert intake.joined(pack({"data/model.pth": program, "data/info.txt": b""}))[2] == program
    assert intake.joined(program)[2] == program


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped(FILES | {"extra.bin": b"x", "../x": b""}), "beside the model"),
        (zipped({"/m.onnx": network()}), "beside the model"),
        (zipped({"a.onnx": network(), "b.onnx": network()}), "several models: 'a.onnx', 'b.onnx'"),
        (tarred({"a.onnx": network(), "./a.onnx": network()}), "two files named 'a.onnx'"),
        (tarred(FILES | {"../m.onnx.data": b""}), "beside the model"),
        (tarred({"m.onnx": network()}, special(tarfile.SYMTYPE)), "no plain file"),
        (tarred({"m.onnx": network()}, special(tarfile.LNKTYPE)), "no plain file"),
        (tarred({"m.onnx": network()}, special(tarfile.CHRTYPE)), "no plain file"),
        (tarred({"m.onnx": network()}, special(tarfile.FIFOTYPE)), "no plain file"),
        (tarred({"saved_model.pb": b"", "variables/variables.index": b""}), "SavedModel"),
        (zipped({f"{index}.bin": b"" for index in range(1001)} | {"m.onnx": b""}), "more than 1000 files"),
        (tarred({f"{index}.bin": b"" for index in range(1001)} | {"m.onnx": b""}), "more than 1000 files"),
        (tarred(FILES | {"m.onnx.data": bytes(20_000)})[:8_000], "ends before|damaged"),
        (zipped(FILES, zipfile.ZIP_BZIP2), "neither stored nor deflated"),
        (b"whatever" + b"lipserve bundle\n", "send the files themselves"),
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(intake: Intake, data: bytes, words: str) -> None:
    assert re.search(words, intake.refusal(data))


def test_gzip_is_what_it_holds(intake: Intake) -> None:
    """As VNN-COMP sends its models, and as folders are packed."""
    assert intake.joined(gzip.compress(network())) == ("model.onnx", sha256(network()).hexdigest(), network())
    _, identity, data = intake.joined(gzip.compress(tarred({f"net/{name}": file for name, file in FILES.items()})))
    assert identity == identity_of(FILES)
    assert dict(parts_of(data).files) == {name: file for name, file in FILES.items() if name != "m.onnx"}


@pytest.mark.parametrize(("data", "words"), [
    (gzip.compress(bytes(65 * MIB)), "more than"),
    (gzip.compress(network())[:-9], "gzip file is damaged"),
    (gzip.compress(network()) + b"more", "gzip file is damaged"),
    (gzip.compress(tarred({"m.onnx": network()}, special(tarfile.SYMTYPE))), "no plain file"),
    (gzip.compress(tarred({"../m.onnx": network()})), ""),
])  # fmt: skip
def test_hostile_gzip_files_are_refused_and_leave_nothing(intake: Intake, data: bytes, words: str) -> None:
    assert words in intake.refusal(data)


def test_a_hundred_thousand_files(intake: Intake) -> None:
    many = {f"{index:09}.bin": b"" for index in range(100_000)} | {"m.onnx": b""}
    assert "directory" in intake.refusal(zipped(many, zipfile.ZIP_STORED))


def test_what_an_archive_says_of_sizes_is_checked(intake: Intake) -> None:
    bomb = zipped({"m.onnx": network(), "m.onnx.data": bytes(8 * MIB)})
    assert len(bomb) < MIB / 10
    assert intake.refusal(bomb, MIB).startswith("too-large")
    assert intake.refusal(tarred({"m.onnx": network(), "m.onnx.data": bytes(2 * MIB)}), MIB).startswith("too-large")
    lying = zipped({"m.onnx": network(), "m.onnx.data": b"x" * 1000}, zipfile.ZIP_STORED)
    for there, told in ((1000, 900), (1000, 1_000_000)):
        size = there.to_bytes(4, "little") * 2
        assert size in lying
        refusal = intake.refusal(lying.replace(size, told.to_bytes(4, "little") * 2))
        assert "m.onnx.data" in refusal or "archive" in refusal


def test_a_link_in_a_zip_and_one_that_is_encrypted(intake: Intake) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m.onnx", network())
        link = zipfile.ZipInfo("m.onnx.data")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "no plain file" in intake.refusal(buffer.getvalue())
    locked = bytearray(zipped({"m.onnx": network()}))
    at = locked.rfind(b"PK\1\2")
    locked[at + 8] |= 1
    assert "encrypted" in intake.refusal(bytes(locked))


def test_a_header_may_not_ask_for_much(intake: Intake) -> None:
    """tarfile reads long names and extended headers whole."""
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 32 * MIB
    data = tarred({"m.onnx": network()})[:1024] + long.tobuf() + bytes(32 * MIB)
    assert "header takes more" in intake.refusal(data)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
@examples(150)
def test_damaged_archives_are_refused_or_right(
    tmp_path_factory: pytest.TempPathFactory, position: int, patch: bytes
) -> None:
    intake = Intake(tmp_path_factory.mktemp("damaged"))
    for whole in (zipped(FILES), tarred(FILES)):
        data = bytearray(whole)
        start = position % (len(data) - len(patch))
        data[start : start + len(patch)] = patch
        with suppress(InvalidModel, NotAModel, MissingData, SurplusData, TooLarge):
            intake.joined(bytes(data))


def test_a_bundle_within_an_archive_is_refused(intake: Intake) -> None:
    """Only files that were checked one by one become one."""
    assert "bundles" in intake.refusal(zipped({"m.onnx": bundle_of(FILES)}))


def test_a_sparse_entry_that_is_cut_short_is_no_crash(intake: Intake) -> None:
    data = bytearray(tarred({"m.onnx": b"x"}))
    data[156], data[482] = ord("S"), 1  # a sparse file of GNU's whose map goes on in a next block
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + sum(data[156:512]) + 8 * 32)
    assert "damaged" in intake.refusal(bytes(data[:512]))
