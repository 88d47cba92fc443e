"""One cluster, one namespace and one installed Holdfast for the whole run.

The phases lean on each other, in the order of their files: what one installs, the next one uses.
They run in that order whatever the random order of other tests is. `make test` leaves this folder
out; `make e2e` and `make e2e-short` run it.
"""

import json
import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import diagnosis
from tests.e2e.client import Gateway
from tests.e2e.cluster import ROOT, Cluster, NoCluster, choose
from tests.e2e.deployment import Deployment
from tests.e2e.figures import Figures
from tests.e2e.installed import INSTALLED, gateway_of, in_namespace
from tests.e2e.killing import Kill

HERE = Path(__file__).parent
FIGURES = Figures()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the phases into their order, behind everything else."""
    ours = [item for item in items if item.path.parent == HERE]
    ours.sort(key=lambda item: (item.path, _line(item), item.name))
    items[:] = [item for item in items if item.path.parent != HERE] + ours


def _versions(cluster: Cluster) -> str:
    server = json.loads(cluster.kubectl("version", "--output", "json"))["serverVersion"]
    helm = cluster.helm("version", "--short").strip()
    return f"Kubernetes {server['gitVersion']}, Helm {helm}"


def _line(item: pytest.Item) -> int:
    assert isinstance(item, pytest.Function)
    return int(item.function.__code__.co_firstlineno)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at the namespace while it still is as the failed test left it."""
    report = yield
    if report.failed and item.path.parent == HERE:
        for deployment in INSTALLED:
            file = ROOT / "build" / "e2e" / f"{item.name}-{deployment.namespace}.txt"
            said = diagnosis.write(deployment, file)
            report.sections.append((f"namespace {deployment.namespace}", said))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures, whatever the outcome."""
    if FIGURES.lines:
        terminalreporter.section("figures of the end-to-end run")
        for line in FIGURES.lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture(scope="session")
def cluster(figures: Figures) -> Iterator[Cluster]:
    try:
        with choose() as cluster:
            figures.add("cluster", cluster.description)
            figures.add("versions", _versions(cluster))
            yield cluster
    except NoCluster as error:
        if os.environ.get("E2E_REQUIRED"):
            pytest.fail(f"there is no cluster: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def namespace(cluster: Cluster, figures: Figures) -> Iterator[Deployment]:
    """A fresh namespace, with nothing in it."""
    with in_namespace(Deployment(cluster, f"e2e-{uuid.uuid4().hex[:8]}")) as deployment:
        figures.add("namespace", deployment.namespace)
        yield deployment


@pytest.fixture(scope="session")
def deployment(namespace: Deployment, figures: Figures) -> Deployment:
    """The releases of Skaffold.yaml, installed."""
    with figures.seconds("helm install --wait"):
        figures.add("CRDs", namespace.install())
    return namespace


@pytest.fixture(scope="session")
def gateway(deployment: Deployment) -> Iterator[Gateway]:
    """REST of the installed Holdfast, whichever gateway pod answers."""
    with gateway_of(deployment) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def replicated(cluster: Cluster, figures: Figures) -> Iterator[Deployment]:
    """Three stores on PostgreSQL, in another namespace; they need nothing of the first ones."""
    place = Deployment(cluster, f"e2e-{uuid.uuid4().hex[:8]}", profiles=["ci", "postgresql"])
    with in_namespace(place) as replicated:
        with figures.seconds("helm install --wait of PostgreSQL and three stores"):
            replicated.install()
        yield replicated
        replicated.uninstall()


@pytest.fixture(scope="session")
def its_gateway(replicated: Deployment) -> Iterator[Gateway]:
    """REST of the Holdfast with three stores."""
    with gateway_of(replicated) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def kills() -> list[Kill]:
    """Everything that was killed so far, as evidence of later phases."""
    return []
