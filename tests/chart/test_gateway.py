"""The gateway and the ways to it, and the pods of `helm test` that use one."""

import ast

from tests.chart.charts import CHART, Helm, env_of


def test_the_gateway_keeps_answering_while_it_is_replaced(helm: Helm) -> None:
    gateway = helm.render().get("Deployment", "gateway")["spec"]

    assert gateway["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    ready = gateway["template"]["spec"]["containers"][0]["readinessProbe"]
    assert ready["httpGet"] == {"path": "/ready", "port": "http"}


def test_the_service_has_the_ports_that_others_rely_on(helm: Helm) -> None:
    ports = helm.render().get("Service", "gateway")["spec"]["ports"]

    assert {port["name"]: port["port"] for port in ports} == {
        "http": 8000,
        "bridge": 8001,
        "metrics": 9090,
    }


def test_metrics_are_not_served_outside_the_cluster_and_are_served_inside(helm: Helm) -> None:
    services = helm.render(values={"gateway": {"service": {"type": "LoadBalancer"}}}).of("Service")

    ports = {
        name: {port["name"] for port in service["spec"]["ports"]}
        for name, service in services.items()
        if name.startswith("gateway")
    }
    assert ports == {"gateway": {"http", "bridge"}, "gateway-metrics": {"metrics"}}
    assert services["gateway-metrics"]["spec"]["type"] == "ClusterIP"


def test_an_ingress_leads_to_ports_of_the_service(helm: Helm) -> None:
    ingress = helm.render("ingress").get("Ingress", "gateway")["spec"]

    paths = {
        rule["host"]: (
            path["path"],
            path["pathType"],
            path["backend"]["service"]["name"],
            path["backend"]["service"]["port"]["name"],
        )
        for rule in ingress["rules"]
        for path in rule["http"]["paths"]
    }
    assert ingress["ingressClassName"] == "nginx"
    assert paths == {
        "holdfast.example.com": ("/", "Prefix", "rel-holdfast-gateway", "http"),
        "bridge.example.com": ("/resonate", "Exact", "rel-holdfast-gateway", "bridge"),
    }


def test_a_route_leads_to_a_port_of_the_service(helm: Helm) -> None:
    route = helm.render("ingress").get("HTTPRoute", "gateway")["spec"]

    assert route["parentRefs"] == [
        {"name": "public", "namespace": "gateways", "sectionName": "https"}
    ]
    (rule,) = route["rules"]
    assert rule["backendRefs"] == [{"name": "rel-holdfast-gateway", "port": 8000}]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/holdfast"}}]


def test_nothing_leads_in_from_outside_unless_asked_for(helm: Helm) -> None:
    rendered = helm.render()

    assert rendered.of("Ingress") == {}
    assert rendered.of("HTTPRoute") == {}
    assert {each["spec"]["type"] for each in rendered.of("Service").values()} == {"ClusterIP"}


def test_helm_test_asks_for_readiness_an_order_and_a_job(helm: Helm) -> None:
    rendered = helm.render()

    pods = rendered.of("Pod")
    assert pods.keys() == {"test-ready", "test-order", "test-job"}
    for name, pod in pods.items():
        main = rendered.pod(f"Pod/{name}").main
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert main["command"] + main["args"] == [
            "python",
            "/checks/check.py",
            name.removeprefix("test-"),
        ]
        assert main["image"] == rendered.pod("Deployment/gateway").main["image"]
        assert env_of(main)["GATEWAY_URL"] == "http://rel-holdfast-gateway:8000"


def test_helm_test_brings_its_script_and_its_way_through_the_network_first(helm: Helm) -> None:
    rendered = helm.render()

    for kind in ("ConfigMap", "NetworkPolicy"):
        annotations = rendered.get(kind, "test")["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "test"
        assert int(annotations["helm.sh/hook-weight"]) < 0
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_the_script_arrives_as_it_was_written(helm: Helm) -> None:
    written = (CHART / "files" / "tests" / "check.py").read_text()
    rendered = helm.render().get("ConfigMap", "test")["data"]["check.py"]

    assert ast.dump(ast.parse(rendered)) == ast.dump(ast.parse(written))


def test_helm_test_finds_the_examples_where_they_are_mounted(helm: Helm) -> None:
    values = {"gateway": {"settings": {"HOLDFAST_GATEWAY_APPS_PREFIX": "/apps"}}}
    rendered = helm.render(values=values)

    assert env_of(rendered.pod("Pod/test-order").main)["APPS_PREFIX"] == "/apps"


def test_helm_test_asks_only_for_what_some_group_runs(helm: Helm) -> None:
    assert helm.render("own-workflows").of("Pod").keys() == {"test-ready"}
    only_orders = {"workerGroups": {"workers": {"modules": ["holdfast_worker.apps.orders"]}}}
    assert helm.render(values=only_orders).of("Pod").keys() == {"test-ready", "test-order"}
    assert helm.render(values={"workerGroups": {"db": None}}).of("Pod").keys() == {"test-ready"}
