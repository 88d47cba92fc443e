"""Phase 7: live sync. A changed source reaches running pods, and the next order is made by it.

The profile `dev` of Skaffold.yaml is installed in a namespace of its own, from images that were
built as it says: with `DEV=1`, under the tag of the other images followed by `-dev`. The files are
copied by what `make dev-cluster` uses, which sends `tar` through `kubectl exec` as Skaffold does.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Gateway
from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.deployment import Deployment
from tests.e2e.figures import Figures
from tests.e2e.installed import gateway_of, in_namespace
from tests.e2e.waiting import until
from tools.dev_cluster import Tools, copy_into_pods

pytestmark = [pytest.mark.timeout(600)]

ORDERS = "services/worker/holdfast_worker/apps/orders.py"
ROUTES = "services/gateway/holdfast_gateway/routes/orders.py"


@pytest.fixture(scope="module")
def developed(cluster: Cluster, deployment: Deployment) -> Iterator[Deployment]:
    """A second Holdfast, which uses the CRDs of the first."""
    with in_namespace(
        Deployment(
            cluster, f"e2e-{uuid.uuid4().hex[:8]}", profiles=["dev"], tag=f"{cluster.tag}-dev"
        )
    ) as developed:
        developed.install()
        yield developed
        developed.uninstall()


@pytest.fixture(scope="module")
def developed_gateway(developed: Deployment) -> Iterator[Gateway]:
    with gateway_of(developed) as gateway:
        yield gateway


def test_a_changed_workflow_makes_the_next_order(
    developed: Deployment, developed_gateway: Gateway, figures: Figures, tmp_path: Path
) -> None:
    before = _pods(developed)
    assert "synced" not in _new_order(developed_gateway)
    _change(tmp_path, ORDERS, '"orderId": order["id"],', '"orderId": order["id"], "synced": True,')

    _copy(developed, ORDERS, tmp_path)
    with figures.seconds("live sync: copied source to an order made by it"):
        until(
            lambda: _new_order(developed_gateway).get("synced"),
            "an order is made by the changed source",
        )

    assert _pods(developed) == before, "processes start again, pods do not"


def test_a_changed_route_answers_the_next_request(
    developed: Deployment, developed_gateway: Gateway, tmp_path: Path
) -> None:
    _change(tmp_path, ROUTES, '"status": "accepted"', '"status": "synced"')

    _copy(developed, ROUTES, tmp_path)

    until(
        lambda: developed_gateway.post_order(str(uuid.uuid4())).json()["status"] == "synced",
        "an order is accepted by the changed source",
    )


def _new_order(gateway: Gateway) -> dict[str, object]:
    order_id = f"sync-{uuid.uuid4()}"
    assert gateway.post_order(order_id).status_code == 202
    done = until(
        lambda: status if (status := gateway.order_status(order_id))["status"] == "done" else None,
        f"{order_id} is done",
    )
    result: dict[str, object] = done["result"]
    return result


def _change(folder: Path, path: str, old: str, new: str) -> None:
    source = (ROOT / path).read_text()
    assert old in source
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text(source.replace(old, new))


def _copy(developed: Deployment, path: str, folder: Path) -> None:
    tools = Tools(namespace=developed.namespace, kubeconfig=str(developed.cluster.kubeconfig))
    said = copy_into_pods(tools, developed.skaffold, developed.images, [path], folder=folder)
    assert len(said) == len(_pods(developed)), said


def _pods(developed: Deployment) -> set[tuple[str, int]]:
    return {(pod.uid, pod.restarts) for pod in developed.pods()}
