"""Phase 6: NetworkPolicies let through what Holdfast needs, and nothing else."""

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.deployment import Deployment
from tests.e2e.installed import in_namespace
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(300)]

STRANGER = "stranger"
GATEWAY = "holdfast-gateway", 8000
STORE = "holdfast-store", 50051
STORE_METRICS = "holdfast-store", 9090
API = "kubernetes.default.svc", 443

CONNECT = """
import socket, sys
try:
    found = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_STREAM)
except OSError as error:
    sys.exit(f"{sys.argv[1]} has no address: {error}")
try:
    socket.create_connection(found[0][4][:2], timeout=4).close()
except OSError as error:
    print("denied:", error)
else:
    print("connected")
"""


@pytest.fixture(scope="module")
def neighbor(cluster: Cluster, deployment: Deployment) -> Iterator[Deployment]:
    """Another namespace, with a pod that has nothing to do with Holdfast; and one of those here."""
    with in_namespace(Deployment(cluster, f"e2e-{uuid.uuid4().hex[:8]}")) as neighbor:
        for place in (neighbor, deployment):
            _start_stranger(place)
        yield neighbor
        deployment.kubectl("delete", "pod", STRANGER, "--grace-period=0", "--force")


def test_strangers_reach_the_gateway_and_nothing_else(
    deployment: Deployment, neighbor: Deployment
) -> None:
    """The gateway shows that these pods can connect at all."""
    for place in (deployment, neighbor):
        said = {
            service: _connect(
                place, STRANGER, f"{service[0]}.{deployment.namespace}.svc", service[1]
            )
            for service in (GATEWAY, STORE, STORE_METRICS)
        }
        assert said[GATEWAY] == "connected", said
        assert said[STORE].startswith("denied"), "this cluster does not enforce NetworkPolicies"
        assert said[STORE_METRICS].startswith("denied"), said


@pytest.mark.parametrize(
    ("component", "group", "closed"),
    [
        # A pod always reaches itself, so that the only gateway cannot show that it is closed to it.
        ("gateway", "", [STORE_METRICS, API]),
        ("worker", "db", [GATEWAY, STORE_METRICS, API]),
    ],
)
def test_the_parts_reach_the_store_and_nothing_else(
    deployment: Deployment, component: str, group: str, closed: list[tuple[str, int]]
) -> None:
    pod = deployment.ready_pod(component, group=group)

    assert _connect(deployment, pod.name, *STORE) == "connected"
    for service in closed:
        assert _connect(deployment, pod.name, *service).startswith("denied"), service


def test_the_operator_reaches_the_api_and_not_the_gateway(deployment: Deployment) -> None:
    pod = deployment.ready_pod("operator")

    assert _connect(deployment, pod.name, *API) == "connected"
    assert _connect(deployment, pod.name, *STORE) == "connected"
    assert _connect(deployment, pod.name, *GATEWAY).startswith("denied")


def _connect(place: Deployment, pod: str, host: str, port: int) -> str:
    return place.execute(pod, "python", "-c", CONNECT, host, str(port)).strip()


def _start_stranger(place: Deployment) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": STRANGER},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": STRANGER,
                    "image": place.images["holdfast-e2e"],
                    "command": ["python", "-c", "import signal; signal.pause()"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    place.kubectl("create", "--filename", "-", stdin=json.dumps(pod))
    until(
        lambda: place.get("pod", STRANGER)["status"]["phase"] == "Running",
        f"{STRANGER} runs in {place.namespace}",
    )
