"""The environment that the chart gives to a process is one that the process accepts."""

from typing import Any

import pytest

from holdfast_chassis.settings import load, refuse_unknown
from holdfast_store.settings import DatabaseSettings
from tests.chart.charts import CASES, Helm, HelmFailed, Pod, env_of
from tools.gen_chart_docs import settings_by_name
from tools.gen_docs import SETTINGS

# What a reference stands for, so that it can be read like the rest.
REFERENCES = {
    "HOLDFAST_STORE_DATABASE_URL": "sqlite:////data/store.db",
    "HOLDFAST_DB_DATABASE_URL": "sqlite:////data/application.db",
}
SERVING = ("Deployment/", "StatefulSet/")


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else REFERENCES.get(name, "rel-holdfast-pod-x7k2p")
        for name, value in env_of(container).items()
    }


def service_of(pod: Pod) -> str:
    return pod.main["name"].replace("migrate", "store")  # type: ignore[no-any-return]


def settings_of(pod: Pod) -> Any:
    service = service_of(pod)
    cls: type[Any] = SETTINGS[service]
    environment = environment_of(pod.main)
    commands: list[type[object]] = [cls, DatabaseSettings] if service == "store" else [cls]
    refuse_unknown(commands, service=service.upper(), environ=environment)
    return load(cls, service=service.upper(), environ=environment)


@pytest.mark.parametrize("case", CASES)
def test_processes_accept_what_the_chart_sets(case: str) -> None:
    for pod in Helm("helm").render(case).pods():
        if pod.owner.startswith(SERVING):
            assert settings_of(pod).metrics_listen.port == 9090, pod.owner


def test_migrations_accept_what_the_chart_sets(helm: Helm) -> None:
    (migrate,) = helm.render("database").pod("Job/migrate").containers

    environment = environment_of(migrate)
    refuse_unknown([DatabaseSettings], service="STORE", environ=environment)

    assert environment.keys() == {"HOLDFAST_STORE_DATABASE_URL"}
    assert migrate["command"] + migrate["args"] == ["holdfast-store", "migrate"]


def test_processes_listen_where_others_look(helm: Helm) -> None:
    rendered = helm.render()

    store = settings_of(rendered.pod("StatefulSet/store"))
    gateway = settings_of(rendered.pod("Deployment/gateway"))
    assert str(store.listen) == "0.0.0.0:50051"
    assert (str(gateway.listen), str(gateway.bridge_listen)) == ("0.0.0.0:8000", "0.0.0.0:8001")
    for owner in ("gateway", "operator", "workers", "db"):
        settings = settings_of(rendered.pod(f"Deployment/{owner}"))
        assert settings.store_url == "grpc://rel-holdfast-store:50051"


def test_processes_can_listen_on_ipv6(helm: Helm) -> None:
    rendered = helm.render(values={"listenHost": "[::]"})

    assert str(settings_of(rendered.pod("StatefulSet/store")).listen) == "[::]:50051"
    assert str(settings_of(rendered.pod("Deployment/gateway")).listen) == "[::]:8000"


def test_settings_of_a_users_own_arrive_as_they_are_written(helm: Helm) -> None:
    """Helm reads numbers as floats, and would print the large ones with an exponent."""
    rendered = helm.render("own-workflows")

    store = settings_of(rendered.pod("StatefulSet/store"))
    gateway = settings_of(rendered.pod("Deployment/gateway"))
    payments = settings_of(rendered.pod("Deployment/payments"))
    assert store.stream_buffer_bytes_max == 67_108_864
    assert store.stream_grace_ms is None
    assert (store.drain_ms, store.log_level) == (2_500, "debug")
    assert gateway.orders_simulate_crash is True
    assert (gateway.apps_prefix, gateway.stop_seconds) == ("/apps", 30.0)
    assert payments.max_concurrency == 8
    assert payments.modules == ("shop.payments", "shop.refunds")
    assert payments.group == "payments"


def test_a_pod_is_a_member_of_the_store_under_its_own_name(helm: Helm) -> None:
    rendered = helm.render()

    for owner, variable in (("workers", "HOLDFAST_WORKER_PID"), ("db", "HOLDFAST_DB_PID")):
        pid = env_of(rendered.pod(f"Deployment/{owner}").main)[variable]
        assert pid == {"fieldRef": {"fieldPath": "metadata.name"}}


@pytest.mark.parametrize("case", CASES)
def test_what_stopping_may_take_fits_into_the_grace_period(case: str) -> None:
    """From SIGTERM on, and what comes before it: the pause in which others learn of the end."""
    for pod in Helm("helm").render(case).pods():
        if not pod.owner.startswith(SERVING):
            continue
        settings = settings_of(pod)
        match service_of(pod):
            case "store":
                drain = settings.drain_ms / 1000
            case "operator":
                drain = 10.0  # what it waits for its watches; see its handlers
            case _:
                drain = settings.stop_seconds
        pause = pod.main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pause + drain + 5 <= pod.spec["terminationGracePeriodSeconds"], pod.owner


def test_only_what_takes_calls_waits_before_it_stops(helm: Helm) -> None:
    """A lone store has nobody to send its callers to, and nobody calls workers and operator."""
    assert {pod.owner for pod in helm.render("database").pods() if "lifecycle" in pod.main} == {
        "Deployment/store",
        "Deployment/gateway",
    }
    assert {pod.owner for pod in helm.render().pods() if "lifecycle" in pod.main} == {
        "Deployment/gateway"
    }


def test_no_setting_can_be_given_that_the_code_does_not_know(helm: Helm) -> None:
    values = {"gateway": {"settings": {"HOLDFAST_GATEWAY_APP_PREFIX": "/apps"}}}

    with pytest.raises(HelmFailed, match="HOLDFAST_GATEWAY_APP_PREFIX"):
        helm.render(values=values)


def owned_settings() -> list[tuple[str, str]]:
    """Return what the chart sets itself: the names that its own pods have by default."""
    found = []
    for pod in Helm("helm").render().pods():
        if pod.owner.startswith(SERVING):
            known = settings_by_name()[service_of(pod)]
            found += [(service_of(pod), name) for name in env_of(pod.main) if name in known]
    return found


@pytest.mark.parametrize(("service", "name"), owned_settings())
def test_a_setting_that_the_chart_sets_cannot_be_set_twice(service: str, name: str) -> None:
    inside: Any = {"settings": {name: "1"}}
    wheres = {"worker": "workers", "db": "db"}
    values = {"workerGroups": {wheres[service]: inside}} if service in wheres else {service: inside}

    with pytest.raises(HelmFailed, match=rf"settings must not set {name}: (use|put|it) "):
        Helm("helm").render(values=values)


def test_a_variable_cannot_be_set_twice(helm: Helm) -> None:
    values = {
        "gateway": {
            "settings": {"HOLDFAST_GATEWAY_LOG_LEVEL": "debug"},
            "extraEnv": [{"name": "HOLDFAST_GATEWAY_LOG_LEVEL", "value": "info"}],
        }
    }

    with pytest.raises(
        HelmFailed, match=r"gateway\.extraEnv sets HOLDFAST_GATEWAY_LOG_LEVEL, which"
    ):
        helm.render(values=values)
