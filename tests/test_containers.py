"""The container files say what they should, as far as that can be told without an engine."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "lipserve:latest"}
CLUSTER = {name: service for name, service in OURS.items() if "depends_on" in service}


def test_the_compose_file_obeys_the_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*checker, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    linted = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert len(copied) >= 5
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not [pattern for pattern in ignored if fnmatch.fnmatch(source, pattern)], source


@pytest.mark.parametrize("path", ["Dockerfile", "docker-compose.yml", "docs/cluster.md", "README.md"])
def test_every_variable_is_a_setting(path: str) -> None:
    named = {name.lower() for name in re.findall(r"LIPSERVE_([A-Z0-9_]*[A-Z0-9])", (ROOT / path).read_text())}
    assert named
    assert named <= set(Settings.model_fields)


def test_every_value_is_one_that_the_settings_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in OURS.values():
        with monkeypatch.context() as patch:
            for name, value in service.get("environment", {}).items():
                patch.setenv(name, value)
            Settings()


def test_the_default_is_one_container_that_needs_nothing_set() -> None:
    assert [name for name, service in SERVICES.items() if not service.get("profiles")] == ["lipserve"]
    assert "depends_on" not in SERVICES["lipserve"]
    # Compose fills in the variables of every profile, so a required one would stop the default, too.
    assert re.findall(r"\$\{[A-Z_]+:?\?", COMPOSE) == []


def test_a_service_without_keys_is_published_on_the_loopback_only() -> None:
    assert "LIPSERVE_ANONYMOUS" not in DOCKERFILE
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        is_anonymous = service.get("environment", {}).get("LIPSERVE_ANONYMOUS") == "true"
        assert is_anonymous == ("ports" in service)


def test_our_containers_have_no_privileges() -> None:
    assert "\nUSER 10001\n" in DOCKERFILE
    for service in OURS.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]


def test_what_is_waited_for_is_there_in_the_same_profile_and_has_a_health_check() -> None:
    assert set(CLUSTER) == {"api", "worker", "worker-gpu"}
    for service in CLUSTER.values():
        for name, wait in service["depends_on"].items():
            assert wait == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[name]
            assert SERVICES[name]["profiles"] == ["cluster"]


def test_the_parts_of_a_cluster_share_database_broker_and_files() -> None:
    shared = ("LIPSERVE_DATABASE_URL", "LIPSERVE_DISPATCHER", "LIPSERVE_BROKER_URL", "LIPSERVE_BLOB_URL")
    for name in shared:
        assert len({service["environment"][name] for service in CLUSTER.values()}) == 1
    place = SERVICES["api"]["environment"]["LIPSERVE_BLOB_URL"]
    assert all(service["volumes"] == [f"blobs:{place}"] for service in CLUSTER.values())
    assert f"lipserve {place}\n" in DOCKERFILE
    local = {name: service["environment"].get("LIPSERVE_LOCAL_WORKERS") for name, service in CLUSTER.items()}
    assert local == {"api": "false", "worker": None, "worker-gpu": None}


def test_every_volume_is_declared() -> None:
    declared = set(yaml.safe_load(COMPOSE)["volumes"])
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == declared
