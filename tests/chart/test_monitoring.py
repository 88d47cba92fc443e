"""Each pod is scraped exactly once, by annotations or by a monitor."""

import json

import yaml

from tests.chart.charts import CHART, Helm

SERVING = ("Deployment/", "StatefulSet/")


def test_pods_are_annotated_for_a_plain_prometheus(helm: Helm) -> None:
    for pod in helm.render().pods():
        if pod.owner.startswith(SERVING):
            assert pod.annotations["prometheus.io/scrape"] == "true"
            assert pod.annotations["prometheus.io/port"] == "9090"
            assert pod.annotations["prometheus.io/path"] == "/metrics"


def test_pods_that_a_monitor_selects_are_not_annotated(helm: Helm) -> None:
    for pod in helm.render("monitoring").pods():
        assert not any(key.startswith("prometheus.io/") for key in pod.annotations), pod.owner
    services_only = helm.render(values={"metrics": {"serviceMonitor": {"enabled": True}}})
    annotated = {
        pod.owner for pod in services_only.pods() if "prometheus.io/scrape" in pod.annotations
    }
    assert annotated == {"Deployment/operator", "Deployment/workers", "Deployment/db"}


def test_annotations_can_be_turned_off(helm: Helm) -> None:
    for pod in helm.render("open-network").pods():
        assert "prometheus.io/scrape" not in pod.annotations


def test_monitors_select_each_pod_once(helm: Helm) -> None:
    """Through Services with a port called metrics, or directly."""
    rendered = helm.render("monitoring")
    pods = [pod for pod in rendered.pods() if pod.owner.startswith(SERVING)]
    scraped: list[str] = []
    for monitor in rendered.of("ServiceMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        for service in rendered.of("Service").values():
            ports = {port["name"] for port in service["spec"]["ports"]}
            if wanted <= service["metadata"]["labels"].items() and "metrics" in ports:
                chosen = service["spec"]["selector"].items()
                scraped += [pod.owner for pod in pods if chosen <= pod.labels.items()]
    for monitor in rendered.of("PodMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        scraped += [pod.owner for pod in pods if wanted <= pod.labels.items()]

    assert sorted(scraped) == sorted(pod.owner for pod in pods)


def test_monitors_carry_what_the_values_say(helm: Helm) -> None:
    rendered = helm.render("monitoring")

    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        for each in rendered.of(kind).values():
            assert each["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    (endpoint,) = rendered.get("ServiceMonitor", "store")["spec"]["endpoints"]
    assert endpoint["interval"] == "30s"
    assert endpoint["honorLabels"] is True
    assert endpoint["relabelings"] == [
        {"action": "replace", "targetLabel": "cluster", "replacement": "one"}
    ]
    (endpoint,) = rendered.get("PodMonitor", "worker")["spec"]["podMetricsEndpoints"]
    assert endpoint["metricRelabelings"][0]["regex"] == "python_gc_.*"


def test_all_rules_are_installed_as_they_are_written(helm: Helm) -> None:
    rendered = helm.render(values={"metrics": {"prometheusRule": {"enabled": True}}})

    written = {
        f"rules-{path.stem}": yaml.safe_load(path.read_text())
        for path in CHART.glob("files/rules/*.yaml")
    }
    installed = {name: each["spec"] for name, each in rendered.of("PrometheusRule").items()}
    assert written
    assert installed == written


def test_alerts_lead_to_where_the_runbooks_are(helm: Helm) -> None:
    rendered = helm.render("monitoring")

    urls = [
        rule["annotations"]["runbook_url"]
        for each in rendered.of("PrometheusRule").values()
        for group in each["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert urls
    for url in urls:
        assert url.startswith("https://example.com/runbooks/")
        assert url.endswith(".md")


def test_all_dashboards_are_installed_as_they_are_written(helm: Helm) -> None:
    rendered = helm.render("monitoring")
    written = {path.name: path.read_text() for path in CHART.glob("files/dashboards/*.json")}

    installed: dict[str, str] = {}
    for name, each in rendered.of("ConfigMap").items():
        if name.startswith("dashboard-"):
            assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
            assert each["metadata"]["annotations"]["grafana_folder"] == "Holdfast"
            installed |= each["data"]

    assert written
    assert installed.keys() == written.keys()
    for name, text in written.items():
        assert json.loads(installed[name]) == json.loads(text)


def test_nothing_of_third_parties_is_installed_unless_asked_for(helm: Helm) -> None:
    kinds = {each["kind"] for each in helm.render().objects}

    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute"}
    assert not any(name.startswith("dashboard-") for name in helm.render().of("ConfigMap"))
