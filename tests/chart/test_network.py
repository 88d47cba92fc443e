"""Who may talk to whom: the picture of the architecture, worked out from the rendered policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chart.charts import Helm, Manifests

STORE, GATEWAY, BRIDGE, METRICS = 50051, 8000, 8001, 9090
DATABASE, APPLICATION_DATABASE = 26257, 5432
DNS, API_SERVER = 53, 6443


@dataclass(frozen=True, slots=True)
class Place:
    """A pod or something outside, as policies see it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "somewhere"
    address: str = ""


STRANGER = Place(labels={"app": "stranger"})
PROMETHEUS = Place(labels={"app.kubernetes.io/name": "prometheus"}, namespace="monitoring")
RESOLVER = Place(labels={"k8s-app": "kube-dns"}, namespace="kube-system")
OUTSIDE = Place(address="198.51.100.7", namespace="")
STORE_DATABASE = Place(address="10.20.0.5", namespace="")
SHOP = Place(labels={"app": "shop"}, namespace="databases")
KEDA = Place(labels={"app.kubernetes.io/name": "keda-operator"}, namespace="keda")


def place(manifests: Manifests, owner: str) -> Place:
    return Place(labels=manifests.pod(owner).labels)


def may(manifests: Manifests, source: Place, target: Place, port: int) -> bool:
    """Whether a connection gets through: out of where it starts, and into where it ends."""
    leaves = _allowed(manifests, source, target, port, way="Egress")
    return leaves and _allowed(manifests, target, source, port, way="Ingress")


def _allowed(manifests: Manifests, subject: Place, peer: Place, port: int, *, way: str) -> bool:
    """Kubernetes' rule: a pod that no policy selects is open, others have what any rule allows."""
    peers_key, rules_key = ("from", "ingress") if way == "Ingress" else ("to", "egress")
    selecting = [
        policy["spec"]
        for policy in manifests.of("NetworkPolicy").values()
        if subject.namespace == "somewhere"
        and way in policy["spec"]["policyTypes"]
        and _matches(policy["spec"]["podSelector"], subject.labels)
    ]
    if not selecting:
        return True
    return any(
        _is_peer(rule.get(peers_key), peer) and _has_port(rule.get("ports"), port)
        for spec in selecting
        for rule in spec.get(rules_key, [])
    )


def _is_peer(peers: list[Any] | None, place: Place) -> bool:
    return peers is None or any(_fits(peer, place) for peer in peers)


def _fits(peer: Any, place: Place) -> bool:
    if "ipBlock" in peer:
        network, _, bits = peer["ipBlock"]["cidr"].partition("/")
        octets = int(bits) // 8
        inside: bool = network.split(".")[:octets] == place.address.split(".")[:octets]
        return inside
    if place.address:
        return False
    if "namespaceSelector" in peer:
        name = {"kubernetes.io/metadata.name": place.namespace}
        in_place = _matches(peer["namespaceSelector"], name)
    else:
        in_place = place.namespace == "somewhere"
    return in_place and _matches(peer.get("podSelector", {}), place.labels)


def _matches(selector: Any, labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions), "this small judge knows no other"
    return bool(selector.get("matchLabels", {}).items() <= labels.items()) and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def _has_port(ports: list[Any] | None, port: int) -> bool:
    return ports is None or port in [each["port"] for each in ports]


def test_components_reach_what_the_architecture_draws_and_nothing_else(helm: Helm) -> None:
    rendered = helm.render("database")
    places = {
        "store": place(rendered, "Deployment/store"),
        "gateway": place(rendered, "Deployment/gateway"),
        "operator": place(rendered, "Deployment/operator"),
        "workers": place(rendered, "Deployment/workers"),
        "db": place(rendered, "Deployment/db"),
        "migrate": place(rendered, "Job/migrate"),
        "test": place(rendered, "Pod/test-order"),
        "stranger": STRANGER,
    }
    targets = {
        "store": (places["store"], STORE),
        "gateway": (places["gateway"], GATEWAY),
        "bridge": (places["gateway"], BRIDGE),
        "metrics of the store": (places["store"], METRICS),
        "metrics of the workers": (places["workers"], METRICS),
        "store's database": (STORE_DATABASE, DATABASE),
        "application database": (SHOP, APPLICATION_DATABASE),
        "API server": (OUTSIDE, API_SERVER),
        "DNS": (RESOLVER, DNS),
    }

    reached = {
        name: {to for to, (there, port) in targets.items() if may(rendered, here, there, port)}
        for name, here in places.items()
    }

    outside = {"store's database", "application database", "API server", "DNS"}
    assert reached == {
        "store": {"store's database", "DNS"},
        "gateway": {"store", "DNS"},
        "operator": {"store", "API server", "DNS"},
        "workers": {"store", "DNS"},
        "db": {"store", "application database", "DNS"},
        "migrate": {"store's database", "DNS"},
        "test": {"gateway", "DNS"},
        # No policy of ours speaks of other pods; what they may leave for is not our affair.
        "stranger": {"gateway", "bridge", *outside},
    }


def test_a_store_on_sqlite_opens_no_connection_at_all(helm: Helm) -> None:
    rendered = helm.render()
    store = place(rendered, "StatefulSet/store")

    for there, port in ((RESOLVER, DNS), (OUTSIDE, 5432), (OUTSIDE, 443), (STRANGER, 80)):
        assert not may(rendered, store, there, port)


def test_a_db_group_on_sqlite_reaches_no_database(helm: Helm) -> None:
    rendered = helm.render()

    assert not may(rendered, place(rendered, "Deployment/db"), OUTSIDE, APPLICATION_DATABASE)


def test_only_prometheus_scrapes(helm: Helm) -> None:
    rendered = helm.render()

    for owner in (
        "StatefulSet/store",
        "Deployment/gateway",
        "Deployment/db",
        "Deployment/operator",
    ):
        assert may(rendered, PROMETHEUS, place(rendered, owner), METRICS), owner
        assert not may(rendered, STRANGER, place(rendered, owner), METRICS), owner


def test_who_scrapes_can_be_chosen(helm: Helm) -> None:
    rendered = helm.render("monitoring")
    store = place(rendered, "StatefulSet/store")

    assert may(rendered, Place(labels={"any": "pod"}, namespace="monitoring"), store, METRICS)
    assert not may(rendered, Place(labels=PROMETHEUS.labels, namespace="other"), store, METRICS)


def test_keda_is_let_in_by_name(helm: Helm) -> None:
    assert not may(helm.render(), KEDA, place(helm.render(), "StatefulSet/store"), STORE)
    rendered = helm.render("external-autoscaler")
    store = place(rendered, "StatefulSet/store")

    assert may(rendered, KEDA, store, STORE)
    assert not may(rendered, KEDA, store, METRICS)


def test_the_gateway_can_be_closed_to_all_but_an_ingress_and_the_tests(helm: Helm) -> None:
    rendered = helm.render("ingress")
    gateway = place(rendered, "Deployment/gateway")

    assert may(rendered, Place(namespace="ingress-nginx"), gateway, GATEWAY)
    assert may(rendered, place(rendered, "Pod/test-job"), gateway, GATEWAY)
    assert not may(rendered, STRANGER, gateway, GATEWAY)
    assert not may(rendered, OUTSIDE, gateway, GATEWAY)


def test_steps_reach_the_outside_systems_that_the_values_name(helm: Helm) -> None:
    rendered = helm.render("own-workflows")
    bank = Place(address="203.0.113.9", namespace="")

    assert may(rendered, place(rendered, "Deployment/payments"), bank, 443)
    assert not may(rendered, place(rendered, "Deployment/payments"), OUTSIDE, 443)
    assert not may(rendered, place(rendered, "Deployment/reports"), bank, 443)


def test_dns_is_asked_at_its_ports_and_at_no_other(helm: Helm) -> None:
    """Policies see the pods behind a Service, whose ports need not be those of the Service."""
    openshift = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dns"}}}
    values = {"networkPolicy": {"dnsTo": [openshift], "dnsPorts": [5353]}}
    usual, other = helm.render("database"), helm.render("database", values)

    for owner in ("Deployment/store", "Deployment/gateway", "Job/migrate", "Pod/test-order"):
        here = place(usual, owner)
        assert may(usual, here, RESOLVER, DNS)
        assert not may(usual, here, RESOLVER, 443)
        assert may(other, here, Place(namespace="dns"), 5353)
        assert not may(other, here, Place(namespace="dns"), DNS)
        assert not may(other, here, RESOLVER, DNS)


def test_a_pod_of_the_release_that_nothing_provides_for_is_shut_in(helm: Helm) -> None:
    rendered = helm.render()
    labels = {"app.kubernetes.io/name": "holdfast", "app.kubernetes.io/instance": "rel"}
    newcomer = Place(labels=labels)

    assert not may(rendered, newcomer, OUTSIDE, 443)
    assert not may(rendered, STRANGER, newcomer, 80)


def test_policies_can_be_left_to_others(helm: Helm) -> None:
    assert helm.render("open-network").of("NetworkPolicy") == {}
