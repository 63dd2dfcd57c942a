"""The schema is what the migrations make; files are whole or absent."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from app.errors import StorageFull, TooLarge
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.locks import Held, is_abandoned
from app.store.tables import metadata
from tests.conftest import ROOT


def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    database.migrate()
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    code = f"from app.store.database import Database; Database('sqlite:///{tmp_path}/a.db').migrate()"
    starters = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [starter.wait() for starter in starters] == [0, 0, 0]


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    insert = "INSERT INTO models VALUES ('a', 'n', 'onnx', 1, 0.0, '{}')"

    def insert_twice() -> None:
        with database.write() as connection:
            connection.exec_driver_sql(insert)
            connection.exec_driver_sql(insert)

    with pytest.raises(IntegrityError):
        insert_twice()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM models").scalar() == 0
    database.close()


def test_a_staged_file_is_hashed_capped_and_removed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, max_bytes=5, reserve_bytes=0)
    staged = blobs.stage()
    staged.write(b"abc")
    assert staged.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(TooLarge):
        staged.write(b"def")
    staged.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_reserve_on_the_disk_is_left_alone(tmp_path: Path) -> None:
    staged = Blobs(tmp_path, 5, reserve_bytes=2**62).stage()
    with pytest.raises(StorageFull):
        staged.write(b"abc")
    staged.close()


def test_a_sweep_removes_only_files_without_a_writer(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 5, 0)
    staged, orphan = blobs.stage(), tmp_path / "staging" / "orphan"
    orphan.write_bytes(b"left behind")
    Blobs(tmp_path, 5, 0)
    assert staged.path.exists()
    assert not orphan.exists()
    staged.close()


def test_a_lock_shows_whether_its_holder_lives(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "me"
    assert not is_abandoned(path)
    held = Held(path)
    assert not is_abandoned(path)
    held.release()
    assert not path.exists()
    path.touch()
    assert is_abandoned(path)
