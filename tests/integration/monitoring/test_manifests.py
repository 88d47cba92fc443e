"""The examples in k8s/observability: valid, restricted, and in step with the chart."""

from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from holdfast_cli.ports import free_ports
from tests.integration.kill.processes import until
from tests.integration.monitoring.files import ROOT
from tests.integration.monitoring.prometheus import Prometheus

FOLDER: Final = ROOT / "k8s" / "observability"
OLDEST, NEWEST = "1.30", "1.37"
META: Final = "__meta_kubernetes_"

MANIFESTS: Final = [
    document
    for path in sorted((FOLDER / "prometheus").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
OF_KIND: Final = {document["kind"]: document for document in MANIFESTS}
POD: Final[dict[str, Any]] = OF_KIND["Deployment"]["spec"]["template"]
CONFIG: Final = yaml.safe_load(OF_KIND["ConfigMap"]["data"]["prometheus.yml"])
CHART: Final = yaml.safe_load((ROOT / "charts" / "holdfast" / "values.yaml").read_text())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_kubernetes_accepts_the_manifests(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_pod_asks_for_no_privilege() -> None:
    spec = POD["spec"]
    [container] = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_may_read_pods_and_nothing_else() -> None:
    assert OF_KIND["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert not {"ClusterRole", "ClusterRoleBinding"} & set(OF_KIND)


def test_the_chart_lets_its_pod_in() -> None:
    [peer] = CHART["networkPolicy"]["metricsFrom"]

    assert peer["podSelector"]["matchLabels"].items() <= POD["metadata"]["labels"].items()


def test_its_configuration_and_the_rules_are_where_it_looks() -> None:
    [container] = POD["spec"]["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    [pattern] = CONFIG["rule_files"]

    assert "--config.file=/etc/prometheus/prometheus.yml" in container["args"]
    assert volumes[mounts["/etc/prometheus"]]["configMap"]["name"] == "prometheus"
    assert volumes[mounts[str(Path(pattern).parent)]]["configMap"] == {
        "name": "prometheus-rules",
        "optional": True,
    }
    assert "create configmap prometheus-rules --from-file" in (FOLDER / "README.md").read_text()


def pod(name: str, *, port: str = "metrics", **labels: str) -> dict[str, str]:
    """The labels that discovery gives one port of a pod of the chart, with changes."""
    found = {
        "namespace": "shop",
        "pod_name": name,
        "pod_phase": "Running",
        "pod_container_port_name": port,
        "pod_annotation_prometheus_io_scrape": "true",
        "pod_annotation_prometheus_io_path": "/metrics",
        "pod_annotation_prometheus_io_port": "9090",
        "pod_label_app_kubernetes_io_part_of": "holdfast",
        "pod_label_app_kubernetes_io_instance": "blue",
        "pod_label_app_kubernetes_io_component": "worker",
    }
    return {f"{META}{key}": value for key, value in (found | labels).items()}


def test_it_finds_the_pods_that_ask_for_it_and_no_others(tmp_path: Path) -> None:
    """A real Prometheus relabels what discovery would say; a name that is misspelled finds none."""
    [scrape] = CONFIG["scrape_configs"]
    assert scrape.pop("kubernetes_sd_configs") == [
        {"role": "pod", "namespaces": {"own_namespace": True}}
    ]
    discovered = {
        "10.0.0.1:9090": pod("worker-1"),
        "10.0.0.2:9090": pod("store-0", pod_label_app_kubernetes_io_component="store"),
        "10.0.0.2:50051": pod("store-0", port="grpc"),
        "10.0.0.3:9090": pod("quiet", pod_annotation_prometheus_io_scrape="false"),
        "10.0.0.4:9090": pod("foreign", pod_label_app_kubernetes_io_part_of="else"),
        "10.0.0.5:9090": pod("ended", pod_phase="Succeeded"),
    }
    scrape["static_configs"] = [
        {"targets": [address], "labels": labels} for address, labels in discovered.items()
    ]
    prometheus = Prometheus(tmp_path, port=next(free_ports()))
    try:
        prometheus.start({**CONFIG, "rule_files": [], "scrape_configs": [scrape]})
        until(prometheus.targets, "the targets were found")
        found = [target["labels"] | {"url": target["scrapeUrl"]} for target in prometheus.targets()]
    finally:
        prometheus.stop()

    assert sorted(found, key=lambda labels: labels["instance"]) == [
        {
            "instance": "10.0.0.1:9090",
            "job": "blue/worker",
            "namespace": "shop",
            "pod": "worker-1",
            "url": "http://10.0.0.1:9090/metrics",
        },
        {
            "instance": "10.0.0.2:9090",
            "job": "blue/store",
            "namespace": "shop",
            "pod": "store-0",
            "url": "http://10.0.0.2:9090/metrics",
        },
    ]


def test_the_values_for_the_stack_agree_with_the_chart() -> None:
    stack = yaml.safe_load((FOLDER / "kube-prometheus-stack.yaml").read_text())
    spec = stack["prometheus"]["prometheusSpec"]
    sidecar = stack["grafana"]["sidecar"]["dashboards"]

    assert sidecar["label"] == CHART["metrics"]["dashboards"]["label"]
    assert sidecar["labelValue"] == CHART["metrics"]["dashboards"]["labelValue"]
    assert {key for key, value in spec.items() if value is False} == {
        "serviceMonitorSelectorNilUsesHelmValues",
        "podMonitorSelectorNilUsesHelmValues",
        "ruleSelectorNilUsesHelmValues",
    }


def test_grafana_is_told_of_prometheus_and_of_the_folder_that_the_readme_mounts() -> None:
    folder = FOLDER / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    [provider] = yaml.safe_load((folder / "dashboards" / "holdfast.yaml").read_text())["providers"]
    readme = (FOLDER / "README.md").read_text()

    assert (source["type"], source["url"]) == ("prometheus", "$PROMETHEUS_URL")
    assert f"charts/holdfast/files/dashboards:{provider['options']['path']}:ro" in readme
    assert "PROMETHEUS_URL=" in readme
