"""Which cluster the end-to-end tests take, with stand-ins for docker, podman, kind and kubectl."""

import re
from pathlib import Path

import pytest

from tests.e2e.cluster import NoCluster, choose
from tests.e2e.commands import CommandFailed
from tests.integration.tools.machine import Machine, machine_in


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine_in(tmp_path, monkeypatch)


def test_a_kubeconfig_comes_first(machine: Machine, tmp_path: Path) -> None:
    for program in ("kubectl", "docker", "kind"):
        machine.install(program)
    environ = {"E2E_KUBECONFIG": str(tmp_path / "config"), "E2E_IMAGE_REGISTRY": "localhost:5001/"}

    with choose(environ) as cluster:
        assert cluster.kubeconfig == tmp_path / "config"
        assert cluster.image("holdfast-store") == "localhost:5001/holdfast-store:ci"

    assert machine.asked == [f"kubectl --kubeconfig {tmp_path / 'config'} version"]


def test_a_kubeconfig_that_leads_nowhere_is_an_error(machine: Machine) -> None:
    machine.install("kubectl", code=1)

    with pytest.raises(CommandFailed, match="does not answer"), choose({"E2E_KUBECONFIG": "/no"}):
        pass


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_kind_makes_a_cluster_and_loads_what_was_built(machine: Machine, engine: str) -> None:
    machine.install(engine)
    machine.install("kind", says="other\\n")

    with choose({}) as cluster:
        assert cluster.image("holdfast-worker") == "holdfast-worker:ci"
        assert engine in cluster.description
    asked = [re.sub(r"/\S+/", "/", line) for line in machine.asked]

    created = "kind create cluster --name holdfast-e2e --wait 5m --config /kind.yaml"
    assert f"{created} --kubeconfig /kubeconfig" in asked
    builds = [line for line in asked if line.startswith(f"{engine} build")]
    loads = [line for line in asked if line.startswith("kind load image-archive")]
    assert len(builds) == 7 + 5, "all images, and those of development once more"
    assert len(loads) == len(builds)
    assert sum("--build-arg DEV=1" in line for line in builds) == 5
    assert sum(":ci-dev" in line for line in builds) == 5
    assert asked[-1] == "kind delete cluster --name holdfast-e2e"


def test_a_cluster_that_kind_has_is_used_again_and_kept_on_demand(machine: Machine) -> None:
    machine.install("docker")
    machine.install("kind", says="holdfast-e2e\\n")

    with choose({"E2E_KEEP": "1"}):
        pass

    commands = {" ".join(line.split()[:3]) for line in machine.asked}
    assert "kind export kubeconfig" in commands
    assert not {"kind create cluster", "kind delete cluster"} & commands


def test_without_a_cluster_there_is_a_sentence(machine: Machine) -> None:
    machine.install("docker", code=1)
    machine.install("kind")

    with pytest.raises(NoCluster, match="E2E_KUBECONFIG"), choose({}):
        pass
