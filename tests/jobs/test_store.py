"""The schema is what the migrations make; files are whole or absent."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, text
from sqlalchemy.exc import IntegrityError

from app.errors import StorageFull
from app.refusals import TooLarge
from app.store.blobs import Blobs
from app.store.database import MIGRATIONS, Database
from app.store.job_queries import Filter
from app.store.jobs import JobRepository
from app.store.locks import Held, is_abandoned
from app.store.tables import jobs, metadata
from app.store.uploads import dataset_repository, model_repository
from tests.conftest import ROOT
from tests.jobs.rows import MODEL, add_model, values_of


def take_back_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_the_migrations_make_the_tables(database: Database) -> None:
    database.migrate()
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        found = inspect(connection)
        for table in metadata.tables.values():
            key = found.get_pk_constraint(table.name)["constrained_columns"]
            assert set(key) == set(table.primary_key.columns.keys())


OLD_ROWS = (
    "INSERT INTO models VALUES ('m', 'net.onnx', 'onnx', 9, 1.5, '{\"parameters\": 3}')",
    "INSERT INTO datasets VALUES ('d', 'x.npy', 9, 1.5, '{\"shape\": [2]}', NULL)",
    "INSERT INTO jobs (id, kind, status, model, blob, request, methods, metadata, cache_key, cached, priority, "
    "timeout_s, created_at, attempt, losses, has_witness, has_certificate) VALUES ('j', 'analyze', 'succeeded', 'm', "
    "'b', '{\"seed\": 7}', ',a,', '{}', 'k', false, 5, 60.0, 1.5, 1, 0, false, false)",
    "INSERT INTO results (job, result) VALUES ('j', '{\"upper\": 2.0}')",
    "INSERT INTO events (job, at, type, data) VALUES ('j', 1.5, 'status', '{\"status\": \"queued\"}')",
)


def test_a_database_of_before_keeps_everything(database: Database) -> None:
    take_back_to(database, "0003")
    with database.write() as connection:
        for statement in OLD_ROWS:
            connection.execute(text(statement.replace(":", "\\:")))
    database.migrate()
    repository = JobRepository(database)
    job = repository.get("", "j")
    assert job is not None
    assert (job["request"], job["tenant"], job["expired"], job["start_by"]) == ({"seed": 7}, "", False, None)
    assert repository.result("j") == {"upper": 2.0}
    assert [row["data"] for row in repository.events("j", 0, 9)] == [{"status": "queued"}]
    model, dataset = model_repository(database).get("", "m"), dataset_repository(database).get("", "d")
    assert model is not None
    assert dataset is not None
    assert (model["name"], model["inspection"], dataset["inputs"]) == ("net.onnx", {"parameters": 3}, {"shape": [2]})


def test_a_migration_can_be_taken_back_without_the_other_tenants(database: Database) -> None:
    for tenant in ("", "acme"):
        add_model(database, tenant)
    take_back_to(database, "0003")
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM models")).scalar() == 1
    database.migrate()
    assert model_repository(database).get("", MODEL) is not None


def test_text_with_a_nul_is_not_found_and_breaks_nothing(database: Database) -> None:
    repository, models = JobRepository(database), model_repository(database)
    add_model(database, sha256="a\0b")
    assert repository.get("", "\0") is None
    assert repository.page("", "analyze", Filter(model="\0", method="\0"), 10, (1e9, "\0")) == []
    assert models.get("", "\0") is None
    assert len(models.page("", 10, (1e12, "\0"))) == 1


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    code = f"from app.store.database import Database; Database({database_url!r}).migrate()"
    starters = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [starter.wait() for starter in starters] == [0, 0]


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def insert_twice() -> None:
        with database.write() as connection:
            for _ in range(2):
                connection.execute(insert(jobs).values(**values_of(id="twice"), created_at=0.0))

    with pytest.raises(IntegrityError):
        insert_twice()
    assert JobRepository(database).get("", "twice") is None


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
