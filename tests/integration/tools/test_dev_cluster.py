"""`make dev-cluster`, with stand-ins for docker, helm and kubectl: what it asks them, and when."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from tests.integration.tools.machine import Machine, machine_in

ROOT = Path(__file__).parents[3]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = machine_in(tmp_path, monkeypatch)
    machine.install("docker")
    machine.install("helm", says="v4.2.3")
    machine.install("kind")
    # Forwards run until they are ended; everything else is answered at once.
    cases = "*current-context*) echo kind-mine;; *port-forward*) exec sleep 60;;"
    machine.install("kubectl", then=f'case "$*" in {cases} esac')
    return machine


@pytest.fixture
def started(machine: Machine) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(processes: list[subprocess.Popen[str]], *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.dev_cluster", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    processes.append(process)
    return process


def asked(machine: Machine, *words: str) -> list[str]:
    return [line for line in machine.asked if all(word in line for word in words)]


def test_it_builds_loads_installs_forwards_and_uninstalls(
    machine: Machine, started: list[subprocess.Popen[str]]
) -> None:
    process = start(started, "--namespace", "dev")
    until(lambda: len(asked(machine, "port-forward")) == 2, "ports are forwarded", seconds=30)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0, output
    assert len(asked(machine, "docker build", "--build-arg DEV=1")) == 5
    assert len(asked(machine, "kind load image-archive", "--name mine")) == 5
    helm = [line for line in asked(machine, "helm", "--namespace dev") if "version" not in line]
    crds, holdfast, *uninstalled = helm
    assert "upgrade --install holdfast-crds charts/holdfast-crds --wait" in crds
    assert "--take-ownership --force-conflicts" in crds
    assert "upgrade --install holdfast charts/holdfast" in holdfast
    assert "--values k8s/values/dev.yaml" in holdfast
    assert holdfast.count("--set images.") == 5
    names = [line.split("uninstall ")[1].split()[0] for line in uninstalled]
    assert names == ["holdfast", "holdfast-crds"]
    assert "http://127.0.0.1:8000 is holdfast-gateway:8000" in output


def test_a_registry_is_pushed_to_and_installed_from_and_what_runs_is_kept(
    machine: Machine, started: list[subprocess.Popen[str]]
) -> None:
    process = start(started, "--registry", "r.example.com/team", "--keep")
    until(lambda: len(asked(machine, "port-forward")) == 2, "ports are forwarded", seconds=30)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0, output
    assert len(asked(machine, "docker push r.example.com/team/holdfast-")) == 5
    assert not asked(machine, "kind load")
    (holdfast,) = asked(machine, "upgrade --install holdfast ")
    assert "--set images.store=r.example.com/team/holdfast-store:dev-" in holdfast
    assert not asked(machine, "uninstall")


def test_a_failing_helm_ends_it_with_a_sentence_and_cleans_up(
    machine: Machine, started: list[subprocess.Popen[str]]
) -> None:
    machine.install("helm", says="v4.2.3", then='case "$*" in *upgrade*) exit 1;; esac')

    process = start(started)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "dev-cluster: helm upgrade --install holdfast-crds" in output
    assert len(asked(machine, "uninstall")) == 2


def test_an_unknown_cluster_needs_a_registry(
    machine: Machine, started: list[subprocess.Popen[str]]
) -> None:
    machine.install("kubectl", says="production\\n")

    process = start(started)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "production is not known as a local cluster" in output
    assert not asked(machine, "helm upgrade")
