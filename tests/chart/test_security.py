"""Tokens and certificates: who mounts which Secret, and that processes take what they are told."""

from pathlib import Path
from typing import Any

import pytest

from tests.chart.charts import CHART, Helm, Manifests, Pod, env_of
from tests.chart.test_lint import notes_of
from tests.chart.test_network import METRICS, may, place
from tests.chart.test_settings import SERVING, settings_of

PARTS = ("store", "gateway", "operator", "workers", "db", "payments")


def serving(helm: Helm, case: str, values: Any = None) -> dict[str, Pod]:
    pods = helm.render(case, values).pods()
    return {p.owner.partition("/")[2]: p for p in pods if p.owner.startswith(SERVING)}


def secrets_of(pod: Pod) -> dict[str, str]:
    """Return the Secrets of a pod by the folder in which its main container finds them."""
    by_name = {
        each["name"]: each["secret"]["secretName"]
        for each in pod.spec["volumes"]
        if "secret" in each
    }
    return {
        each["mountPath"]: by_name[each["name"]]
        for each in pod.main["volumeMounts"]
        if each["name"] in by_name
    }


def test_nothing_is_mounted_and_nothing_asked_for_by_default(helm: Helm) -> None:
    for pod in serving(helm, "default").values():
        names = env_of(pod.main)
        assert not secrets_of(pod)
        assert not [name for name in names if "AUTH" in name or "TLS" in name or "TOKEN" in name]


def test_each_process_has_the_secrets_that_it_reads_and_no_other(helm: Helm) -> None:
    pods = serving(helm, "security")
    clients = {"/etc/holdfast/store-tls": "holdfast-client-tls"}
    token = {"/etc/holdfast/token": "holdfast-token"}

    assert pods.keys() == set(PARTS)
    assert secrets_of(pods["store"]) == {
        "/etc/holdfast/auth": "holdfast-keys",
        "/etc/holdfast/tls": "holdfast-store-tls",
    }
    assert secrets_of(pods["gateway"]) == clients | token | {
        "/etc/holdfast/auth": "holdfast-keys",
        "/etc/holdfast/tls": "holdfast-gateway-tls",
    }
    for part in ("operator", "workers", "db"):
        assert secrets_of(pods[part]) == clients | token, part
    assert secrets_of(pods["payments"]) == clients | {"/etc/holdfast/token": "payments-token"}


def test_secrets_are_mounted_as_whole_folders_so_that_they_can_be_replaced(helm: Helm) -> None:
    """The kubelet never brings a file up to date that is mounted by itself."""
    for pod in serving(helm, "security").values():
        for mount in pod.main["volumeMounts"]:
            assert "subPath" not in mount, pod.owner


def test_processes_are_told_where_the_files_are(helm: Helm) -> None:
    settings = {part: settings_of(pod) for part, pod in serving(helm, "security").items()}

    store, gateway = settings["store"], settings["gateway"]
    for each in (store, gateway):
        assert each.auth_keys == "/etc/holdfast/auth/jwks.json"
        assert (each.auth_issuer, each.auth_audience) == ("https://issuer.example.com", "holdfast")
        assert each.tls_cert == "/etc/holdfast/tls/tls.crt"
        assert each.tls_key == "/etc/holdfast/tls/tls.key"
    assert store.tls_client_ca == "/etc/holdfast/tls/ca.crt"
    assert gateway.tls_client_ca is None
    assert store.auth_scaler_open
    assert gateway.auth_apps
    for part in PARTS[1:]:
        each = settings[part]
        file = "jwt" if part == "payments" else "token"
        assert each.store_url.startswith("grpcs://rel-holdfast-store:50051,"), part
        assert each.store_token_file == f"/etc/holdfast/token/{file}"
        assert each.store_tls_ca == "/etc/holdfast/store-tls/ca.crt"
        assert each.store_tls_cert == "/etc/holdfast/store-tls/tls.crt"
        assert each.store_tls_key == "/etc/holdfast/store-tls/tls.key"


def test_keys_of_a_url_need_no_secret(helm: Helm) -> None:
    values = {"auth": {"url": "https://issuer/keys", "token": {"existingSecret": "token"}}}
    pods = serving(helm, "default", values)

    assert settings_of(pods["store"]).auth_keys == "https://issuer/keys"
    assert secrets_of(pods["store"]) == {}
    assert secrets_of(pods["gateway"]) == {"/etc/holdfast/token": "token"}


def test_probes_ask_what_answers_them_where_connections_are_encrypted(helm: Helm) -> None:
    """The kubelet's gRPC probes know no TLS, and those over HTTP look at no certificate."""
    pods = serving(helm, "security")

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pods["store"].main[probe]["httpGet"]["port"] == "metrics"
        assert "grpc" in serving(helm, "default")["store"].main[probe]
    assert pods["gateway"].main["readinessProbe"]["httpGet"] == {
        "path": "/ready",
        "port": "http",
        "scheme": "HTTPS",
    }


def asked_by_the_tests(rendered: Manifests) -> dict[str, str]:
    """Return what each pod of `helm test` asks."""
    return {
        pod.owner.partition("/")[2]: env_of(pod.main)["GATEWAY_URL"]
        for pod in rendered.pods()
        if pod.owner.startswith("Pod/test-")
    }


def test_helm_test_asks_over_https_where_the_gateway_is_encrypted(helm: Helm) -> None:
    values = {"tls": {"gateway": {"existingSecret": "gateway-tls"}}}

    asked = asked_by_the_tests(helm.render("default", values))

    assert asked.keys() == {"test-ready", "test-order", "test-job"}
    assert set(asked.values()) == {"https://rel-holdfast-gateway:8000"}


@pytest.mark.parametrize(
    ("apps", "asked"), [(False, {"test-ready", "test-order"}), (True, {"test-ready"})]
)
def test_helm_test_asks_nothing_that_needs_a_token(
    helm: Helm, asked: set[str], *, apps: bool
) -> None:
    assert asked_by_the_tests(helm.render("security", {"auth": {"apps": apps}})).keys() == asked


@pytest.mark.parametrize(
    ("service", "host"), [("ClusterIP", "gateway"), ("NodePort", "gateway-metrics")]
)
def test_who_has_no_certificate_asks_the_gateways_metrics_port(
    helm: Helm, service: str, host: str
) -> None:
    """Neither the kubelet nor the pods of `helm test` have one that its clients must show."""
    values = {
        "tls": {"gateway": {"clientCertificates": True}},
        "gateway": {"service": {"type": service}},
    }
    rendered = helm.render("security", values)
    gateway, test = place(rendered, "Deployment/gateway"), place(rendered, "Pod/test-ready")
    pod = serving(helm, "security", values)["gateway"]

    assert asked_by_the_tests(rendered) == {"test-ready": f"http://rel-holdfast-{host}:9090"}
    assert may(rendered, test, gateway, METRICS)
    assert pod.main["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "metrics"}
    assert settings_of(pod).tls_client_ca == "/etc/holdfast/tls/ca.crt"


@pytest.mark.parametrize("case", ["default", "security"])
def test_the_notes_say_where_nobody_is_asked_for_a_token(
    helm: Helm, tmp_path: Path, case: str
) -> None:
    notes = notes_of(helm, tmp_path, "-f", str(CHART / "ci" / f"{case}-values.yaml"))

    assert ("Nobody is asked for a token" in notes) is (case == "default")
