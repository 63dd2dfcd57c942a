"""One battery for every place that keeps files: a directory, and a bucket behind a real HTTP server."""

import hashlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import StorageFull, StorageUnavailable
from app.refusals import TooLarge
from app.settings import Settings
from app.store.blobs import Blobs, Staged, open_blobs
from app.store.bucket import Bucket
from tests.conftest import free_port
from tests.object_store import ObjectStore, running_object_store

BYTES = b"some bytes of a model" * 1000
DIGEST = hashlib.sha256(BYTES).hexdigest()

Place = Callable[..., Blobs]


@pytest.fixture(params=["directory", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Opens the same place each time, as another process or host would."""
    if request.param == "directory":
        return lambda max_bytes=2**30, reserve_bytes=0, host="": Blobs(tmp_path / "files", max_bytes, reserve_bytes)
    store: ObjectStore = request.getfixturevalue("object_store")
    url = f"s3://{store.bucket()}/prefix"

    def opened(max_bytes: int = 2**30, reserve_bytes: int = 0, host: str = "one") -> Blobs:
        root = tmp_path / host
        return Blobs(root, max_bytes, reserve_bytes, Bucket(url, store.options))

    return opened


def staged(blobs: Blobs, data: bytes = BYTES) -> Staged:
    file = blobs.stage()
    file.write(data)
    file.sync()
    return file


def content(blobs: Blobs, key: str) -> bytes:
    with blobs.open(key) as file:
        return file.read()


def test_a_staged_file_can_be_read_elsewhere_before_it_is_kept_and_is_gone_after(place: Place) -> None:
    file = staged(place())
    assert content(place(host="two"), file.key) == BYTES
    file.close()
    with pytest.raises(FileNotFoundError):
        place(host="two").open(file.key)


def test_a_kept_file_is_there_for_everyone_and_outlives_its_writer(place: Place) -> None:
    blobs, other = place(), place(host="two")
    file = staged(blobs)
    assert not other.exists(DIGEST)
    blobs.keep(file)
    file.close()
    assert other.exists(DIGEST)
    assert content(other, Blobs.key(DIGEST)) == BYTES
    other.remove(DIGEST)
    assert not blobs.exists(DIGEST)
    blobs.remove(DIGEST)


def test_keeping_twice_leaves_one_file_and_nothing_staged(place: Place, tmp_path: Path) -> None:
    blobs = place()
    for _ in range(2):
        file = staged(blobs)
        blobs.keep(file)
        file.close()
    assert content(blobs, Blobs.key(DIGEST)) == BYTES
    assert not list(tmp_path.rglob("staging/*"))


def test_an_opened_file_tells_its_size_and_can_be_read_in_pieces_and_again(place: Place) -> None:
    blobs = place()
    file = staged(blobs)
    with blobs.open(file.key) as opened:
        assert opened.read(4) == BYTES[:4]
        assert opened.seek(0, os.SEEK_END) == len(BYTES)
        assert opened.read(1) == b""
        opened.seek(0)
        assert b"".join(iter(lambda: opened.read(1000), b"")) == BYTES
    file.close()


def test_a_store_that_goes_while_a_file_is_read_is_an_os_error(tmp_path: Path) -> None:
    """A child is fed from the file, and its supervisor expects nothing else."""
    with running_object_store(tmp_path, free_port()) as store:
        options = store.options | {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
        blobs = Blobs(tmp_path, 2**30, 0, Bucket(f"s3://{store.bucket()}", options))
        file = staged(blobs, os.urandom(20 * 2**20))
        opened = blobs.open(file.key)
        assert len(opened.read(10)) == 10
    with pytest.raises(OSError, match="does not answer"):
        opened.read()
    opened.close()
    file.close()


def test_the_cap_and_the_reserve_hold_wherever_files_are_kept(place: Place) -> None:
    capped, reserved = place(max_bytes=5).stage(), place(reserve_bytes=2**62).stage()
    with pytest.raises(TooLarge):
        capped.write(b"abcdef")
    with pytest.raises(StorageFull):
        reserved.write(b"a")
    capped.close()
    reserved.close()


def test_a_file_that_nobody_synced_leaves_no_trace(place: Place, tmp_path: Path) -> None:
    file = place().stage()
    file.write(BYTES)
    file.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_check_passes_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    place().check()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_writer_that_is_killed_leaves_nothing_that_a_sweep_does_not_find(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from app.store.blobs import Blobs; "
        "s = Blobs(Path(sys.argv[1]), 100, 0).stage(); s.write(b'half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.rglob("staging/*"))) == 1
    Blobs(tmp_path, 100, 0)
    assert not list(tmp_path.rglob("staging/*"))


def test_orphans_in_a_bucket_go_by_their_age(object_store: ObjectStore, tmp_path: Path) -> None:
    bucket = object_store.bucket()

    def opened(orphaned_s: float) -> Blobs:
        return Blobs(tmp_path, 2**30, 0, Bucket(f"s3://{bucket}", object_store.options, orphaned_s))

    orphan = staged(opened(60.0))
    assert object_store.keys(bucket) == {orphan.key}
    opened(60.0)
    assert object_store.keys(bucket) == {orphan.key}
    time.sleep(1.1)
    opened(1.0)
    assert object_store.keys(bucket) == set()
    orphan.close()


@pytest.mark.slow
def test_a_large_file_is_whole(object_store: ObjectStore, tmp_path: Path) -> None:
    """Larger than a part of a multipart upload and than a block of a read."""
    data = os.urandom(12 * 2**20) * 10
    bucket = Bucket(f"s3://{object_store.bucket()}", object_store.options)
    blobs = Blobs(tmp_path, 2**30, 0, bucket)
    file = staged(blobs, data)
    blobs.keep(file)
    file.close()
    with blobs.open(Blobs.key(file.sha256)) as kept:
        assert hashlib.file_digest(kept, "sha256").hexdigest() == file.sha256


def test_readers_never_see_half_a_file(object_store: ObjectStore, tmp_path: Path) -> None:
    """While one host uploads, others find all of the file, or nothing, or are refused."""
    url, seen = f"s3://{object_store.bucket()}", set()
    reader = Blobs(tmp_path / "reader", 2**30, 0, Bucket(url, object_store.options))
    writer = Blobs(tmp_path / "writer", 2**30, 0, Bucket(url, object_store.options))
    data = os.urandom(10 * 2**20)
    key, over = Blobs.key(hashlib.sha256(data).hexdigest()), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            try:
                seen.add(len(content(reader, key)))
            except OSError:
                seen.add(0)

    watcher = threading.Thread(target=look)
    watcher.start()
    file = staged(writer, data)
    writer.keep(file)
    file.close()
    seen.add(len(content(reader, key)))
    over.set()
    watcher.join()
    assert seen == {0, len(data)}


def test_a_store_that_does_not_answer_is_a_problem_of_its_own(tmp_path: Path) -> None:
    options = {
        "endpoint_url": f"http://127.0.0.1:{free_port()}",
        "key": "test",
        "secret": "test",
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    bucket = Bucket("s3://nowhere", options)
    path = tmp_path / uuid.uuid4().hex
    path.write_bytes(BYTES)
    with pytest.raises(StorageUnavailable):
        bucket.show(path, "staging/x")
    with pytest.raises(OSError, match="does not answer"):
        bucket.open("staging/x")
    bucket.withdraw("staging/x")


def test_the_setting_says_where_files_are_kept(object_store: ObjectStore, tmp_path: Path) -> None:
    bucket = object_store.bucket()
    urls = {
        "": tmp_path / "data" / "files" / Blobs.key(DIGEST),
        str(tmp_path / "plain"): tmp_path / "plain" / "files" / Blobs.key(DIGEST),
        f"file://{tmp_path}/url": tmp_path / "url" / "files" / Blobs.key(DIGEST),
        f"s3://{bucket}/deep/": None,
    }
    for url, path in urls.items():
        settings = Settings(data_dir=tmp_path / "data", blob_url=url, blob_options=object_store.options)
        blobs = open_blobs(settings, "files", 2**20)
        file = staged(blobs)
        blobs.keep(file)
        file.close()
        assert path is None or path.read_bytes() == BYTES
    assert object_store.keys(bucket) == {f"deep/files/{Blobs.key(DIGEST)}"}
