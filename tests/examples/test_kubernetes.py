"""The manifests in deploy/kubernetes and docs/kubernetes.md: as the API server reads them, and as pods do."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from app.jobs import memory
from app.settings import Settings
from tests.conftest import ROOT, eventually, free_port

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
[GPU], [SCRAPE] = (list(yaml.safe_load_all(text)) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S))
KEYS, ALONE, CLUSTER = (
    list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / name).read_text()))
    for name in re.findall(r"kubectl apply -f deploy/kubernetes/([\w-]+\.yaml)", PAGE)
)
OBJECTS = [*KEYS, *ALONE, *CLUSTER]
VERSIONS = ("1.29", kubernetes_validate.latest_version())
BINARIES = str(Path(sys.executable).parent)

Manifest = dict[str, Any]


def named(objects: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod(workload: Manifest) -> Manifest:
    return workload["spec"]["template"]["spec"]


def container(workload: Manifest) -> Manifest:
    [only] = pod(workload)["containers"]
    return only


DEPLOYMENT = named(ALONE, "Deployment", "lipserve")
API = named(CLUSTER, "Deployment", "lipserve-api")
WORKER = named(CLUSTER, "Deployment", "lipserve-worker")
WORKLOADS = [one for one in OBJECTS if one["kind"] in ("Deployment", "Job")]


def on_gpus(workload: Manifest) -> Manifest:
    """With what the page says about GPUs."""
    changed = copy.deepcopy(workload)
    container(changed)["env"] += GPU["env"]
    container(changed)["resources"] = GPU["resources"]
    return changed


def keys_of_the_cluster() -> Manifest:
    """The Job as the page has it changed for many nodes."""
    changed = copy.deepcopy(named(KEYS, "Job", "lipserve-keys"))
    container(changed)["envFrom"] = container(API)["envFrom"]
    pod(changed)["volumes"] = [{"name": "data", "emptyDir": {}}]
    return changed


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_obeys_the_schema(version: str) -> None:
    for one in [*OBJECTS, *map(on_gpus, (DEPLOYMENT, WORKER)), keys_of_the_cluster()]:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_schema_would_find_a_wrong_field() -> None:
    wrong = copy.deepcopy(DEPLOYMENT)
    container(wrong)["readinesProbe"] = container(wrong)["readinessProbe"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_pods_obey_the_restricted_standard_and_are_given_no_settings_by_services() -> None:
    assert len(WORKLOADS) == 4
    for one in WORKLOADS:
        security, own = pod(one)["securityContext"], container(one)["securityContext"]
        assert security["runAsNonRoot"] is True
        assert f"\nUSER {security['runAsUser']}\n" in (ROOT / "Dockerfile").read_text()
        assert security["fsGroup"] == security["runAsGroup"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod(one)["enableServiceLinks"] is False
        assert pod(one)["automountServiceAccountToken"] is False


def test_a_service_link_would_stop_the_service() -> None:
    """Why the links are switched off."""
    environment = os.environ | {"LIPSERVE_PORT": "tcp://10.0.0.1:80"}
    done = subprocess.run([f"{BINARIES}/lipserve", "serve"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "LIPSERVE_PORT" in done.stderr


def test_every_variable_is_a_setting_and_every_value_one_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = named(CLUSTER, "Secret", "lipserve")["stringData"]
    for one in [*WORKLOADS, on_gpus(WORKER)]:
        values = {entry["name"]: entry.get("value", "4") for entry in container(one).get("env", [])}
        values |= secret if "envFrom" in container(one) else {}
        ours = {name: value for name, value in values.items() if name.startswith("LIPSERVE_")}
        assert {name.removeprefix("LIPSERVE_").lower() for name in ours} <= set(Settings.model_fields)
        with monkeypatch.context() as patch:
            for name, value in ours.items():
                patch.setenv(name, value)
            Settings()


def test_names_within_the_manifests_fit_together() -> None:
    for objects in (ALONE, CLUSTER):
        [service] = [one for one in objects if one["kind"] == "Service"]
        [behind] = [
            one
            for one in objects
            if one["kind"] == "Deployment"
            and one["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]
        ]
        [port] = service["spec"]["ports"]
        assert port["targetPort"] in {one["name"] for one in container(behind)["ports"]}
    for one in WORKLOADS:
        mounted = {mount["name"] for mount in container(one)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod(one)["volumes"]}
        claims = [volume.get("persistentVolumeClaim") for volume in pod(one)["volumes"]]
        for claim in filter(None, claims):
            named(KEYS, "PersistentVolumeClaim", claim["claimName"])
    for one in (DEPLOYMENT, API, WORKER):
        template = one["spec"]["template"]["metadata"]
        assert one["spec"]["selector"]["matchLabels"] == template["labels"]
    budget = named(CLUSTER, "PodDisruptionBudget", "lipserve-api")
    assert budget["spec"]["selector"] == API["spec"]["selector"]


def test_times_are_long_enough() -> None:
    settings = Settings()
    for one in (DEPLOYMENT, API):
        drain = float(next(e["value"] for e in container(one)["env"] if e["name"] == "LIPSERVE_DRAIN_S"))
        ready = container(one)["readinessProbe"]
        assert drain > ready["periodSeconds"] * ready["failureThreshold"]
        assert pod(one)["terminationGracePeriodSeconds"] > drain + settings.shutdown_s
    start = container(DEPLOYMENT)["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > settings.worker_start_s


@pytest.mark.parametrize(("words", "limit"), [("8 GiB less a tenth", 8), ("4 GiB leave", 4)])
def test_a_memory_limit_leaves_what_the_page_says(monkeypatch: pytest.MonkeyPatch, words: str, limit: int) -> None:
    [left] = re.findall(rf"{words}(?:.*?leave)? (\d\.\d) GiB", " ".join(PAGE.split()))
    monkeypatch.setattr(memory, "total_bytes", lambda: limit * memory.GIB)
    assert f"{memory.job_bytes(0, 1) / memory.GIB:.1f}" == left


def test_the_scrape_configuration_follows_the_annotations() -> None:
    [job] = SCRAPE["scrape_configs"]
    read = {label for rule in job["relabel_configs"] for label in rule["source_labels"]}
    for one in (DEPLOYMENT, API):
        metadata = one["spec"]["template"]["metadata"]
        for name in metadata["annotations"]:
            assert "__meta_kubernetes_pod_annotation_" + re.sub(r"[^a-z]", "_", name) in read
        told = f"{metadata['labels']['app']};{metadata['annotations']['prometheus.io/scrape']}"
        assert job["relabel_configs"][0]["regex"] == told


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd="/", env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def as_in_the_pod(workload: Manifest) -> list[str]:
    """The pod's user without capabilities, and no way to get any."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("to become the pod's user needs root and setpriv")
    user, group = (pod(workload)["securityContext"][name] for name in ("runAsUser", "runAsGroup"))
    ids = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return ["setpriv", *ids, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def installed(folder: Path, prefix: list[str]) -> str:
    """A PATH with a `lipserve` that the pod's user may run: a virtual environment of a Python that is open to it."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (os.path.realpath(sys.executable), f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        if subprocess.run([*prefix, "test", "-x", interpreter]).returncode:
            continue
        subprocess.run([interpreter, "-m", "venv", "--without-pip", "--clear", folder / "venv"], check=True)
        packages = folder / "venv" / "lib" / name / "site-packages"
        (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
        script = folder / "venv" / "bin" / "lipserve"
        script.write_text(f'#!/bin/sh\nexec {folder}/venv/bin/python -m app "$@"\n')
        script.chmod(0o755)
        if subprocess.run([*prefix, script, "openapi"], cwd="/", capture_output=True).returncode == 0:
            return f"{script.parent}:{os.environ['PATH']}"
    pytest.skip("no Python here that the pod's user could run with these packages")


@pytest.mark.slow
def test_the_pod_starts_confines_its_children_is_scraped_and_drains(tmp_path: Path) -> None:
    """All that the manifest says to the process, but for the addresses: the image's default port may be taken."""
    prefix = as_in_the_pod(DEPLOYMENT)
    folder, port = Path(tempfile.mkdtemp(prefix="lipserve-pod-")), free_port()
    os.chown(folder, pod(DEPLOYMENT)["securityContext"]["runAsUser"], pod(DEPLOYMENT)["securityContext"]["fsGroup"])
    try:
        environment = {"PATH": installed(folder, prefix), "LIPSERVE_DATA_DIR": str(folder / "data")}
        job = named(KEYS, "Job", "lipserve-keys")
        making = [*prefix, *container(job)["command"]]
        made = subprocess.run(making, cwd="/", env=environment, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        work, admin = re.findall(r"^lip_\S+$", made.stdout, re.MULTILINE)
        environment |= {entry["name"]: entry.get("value", "1") for entry in container(DEPLOYMENT)["env"]}
        environment |= {"LIPSERVE_PORT": str(port), "LIPSERVE_HOST": "127.0.0.2", "LIPSERVE_DRAIN_S": "2"}
        command = [*prefix, "lipserve", "serve"]
        with (
            started(command, environment, tmp_path / "log") as process,
            httpx.Client(base_url=f"http://127.0.0.2:{port}", timeout=10) as client,
        ):
            behaves(process, client, work, admin)
    finally:
        shutil.rmtree(folder)


def behaves(process: subprocess.Popen[bytes], client: httpx.Client, work: str, admin: str) -> None:
    probes = {name: container(DEPLOYMENT)[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness")}

    def status(path: str) -> int:
        try:
            return client.get(path).status_code
        except httpx.TransportError:
            return 0

    eventually(lambda: status(probes["liveness"]), lambda code: code == 200, 60)
    eventually(lambda: status(probes["startup"]), lambda code: code == 200, 120)
    assert client.get("/v1/models").status_code == 401
    workers = client.get("/v1/workers", headers={"Authorization": f"Bearer {work}"}).json()
    assert {one["confinement"] for one in workers["workers"] if one["state"] != "starting"} == {"full"}, workers
    metrics = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]
    bearers = [{"Authorization": f"Bearer {key}"} for key in (work, admin)]
    assert [client.get(metrics, headers=bearer).status_code for bearer in bearers] == [403, 200]
    process.terminate()
    eventually(lambda: status(probes["startup"]), lambda code: code == 503, 2)
    assert client.get(probes["liveness"]).status_code == 200
    assert process.wait(timeout=15) == 0
