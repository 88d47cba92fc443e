"""What every pod of the chart keeps to, hooks and tests included, whatever the values."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from tests.chart.charts import CASES, ROOT, Helm, Pod, env_of

SERVING = ("Deployment/", "StatefulSet/")

Found = tuple[str, Pod]


def all_pods() -> Iterator[Found]:
    for case in CASES:
        for pod in Helm("helm").render(case).pods():
            yield case, pod


def all_containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for case, pod in all_pods():
        for container in pod.containers:
            yield f"{case}: {pod.owner}/{container['name']}", container


def test_the_cases_have_pods_of_every_kind() -> None:
    """The tests below say something about each of them."""
    owners = {pod.owner for _, pod in all_pods()}

    assert {
        "StatefulSet/store",
        "Deployment/store",
        "Deployment/gateway",
        "Deployment/operator",
        "Deployment/workers",
        "Deployment/db",
        "Job/migrate",
        "Pod/test-ready",
        "Pod/test-order",
        "Pod/test-job",
    } <= owners


def test_pods_fit_the_restricted_profile() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, field by field."""
    for case, pod in all_pods():
        where, spec = f"{case}: {pod.owner}", pod.spec
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, where
        assert context["seccompProfile"]["type"] in {"RuntimeDefault", "Localhost"}, where
        assert context.get("runAsUser", 1) != 0, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), where
        for volume in spec["volumes"]:
            kind = volume.keys() - {"name"}
            assert kind <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}, where


def test_containers_fit_the_restricted_profile() -> None:
    for where, container in all_containers():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, where
        assert context["capabilities"] == {"drop": ["ALL"]}, where
        assert not context.get("privileged", False), where
        assert all("hostPort" not in port for port in container.get("ports", [])), where


def test_containers_write_only_where_a_volume_is() -> None:
    for where, container in all_containers():
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
        assert mounts & {"/tmp", "/seed"}, where


def test_mounts_name_volumes_of_the_pod() -> None:
    for case, pod in all_pods():
        claims: set[str] = {"data"} if pod.owner == "StatefulSet/store" else set()
        volumes = {volume["name"] for volume in pod.spec["volumes"]} | claims
        for container in pod.containers:
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= volumes, f"{case}: {pod.owner}"


def test_containers_ask_for_resources_and_are_limited() -> None:
    for where, container in all_containers():
        for kind in ("requests", "limits"):
            assert container["resources"][kind].keys() >= {"cpu", "memory"}, where


def test_images_have_a_tag_or_a_digest_and_never_latest() -> None:
    for where, container in all_containers():
        assert re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"]), where
        assert not container["image"].endswith(":latest"), where
        assert container["imagePullPolicy"] in {"Always", "IfNotPresent", "Never"}, where


def test_only_the_operator_gets_a_token() -> None:
    for case, pod in all_pods():
        is_operator = pod.owner == "Deployment/operator"
        assert pod.spec["automountServiceAccountToken"] is is_operator, f"{case}: {pod.owner}"
    for case in CASES:
        for name, account in Helm("helm").render(case).of("ServiceAccount").items():
            assert account["automountServiceAccountToken"] is False, f"{case}: {name}"


def test_every_account_that_is_named_is_made_or_was_there() -> None:
    for case in CASES:
        manifests = Helm("helm").render(case)
        made = {account["metadata"]["name"] for account in manifests.of("ServiceAccount").values()}
        named = {pod.spec["serviceAccountName"] for pod in manifests.pods()}
        given = {name for name in named if name.endswith("-account")}
        assert named - {"default"} - given == made, case
        assert given == set() or case == "existing"


def test_what_serves_has_three_probes() -> None:
    for case, pod in all_pods():
        if pod.owner.startswith(SERVING):
            probes = {key for key in pod.main if key.endswith("Probe")}
            assert probes == {"startupProbe", "readinessProbe", "livenessProbe"}, case
            assert pod.main["readinessProbe"]["periodSeconds"] <= 2


def test_probes_ask_ports_that_the_container_has() -> None:
    for case, pod in all_pods():
        ports = {port["name"]: port["containerPort"] for port in pod.main.get("ports", [])}
        known = ports.keys() | set(ports.values())
        for key, probe in pod.main.items():
            if key.endswith("Probe"):
                asked = probe.get("httpGet") or probe["grpc"]
                assert asked["port"] in known, f"{case}: {pod.owner} {key}"


def test_the_store_is_asked_over_grpc_and_a_lost_database_does_not_restart_it(helm: Helm) -> None:
    for case, owner in (("default", "StatefulSet/store"), ("database", "Deployment/store")):
        store = helm.render(case).pod(owner).main
        assert store["readinessProbe"]["grpc"] == {"port": 50051, "service": "readiness"}
        assert store["livenessProbe"]["grpc"] == {"port": 50051, "service": "liveness"}
        assert store["startupProbe"]["grpc"] == {"port": 50051, "service": "liveness"}


def test_pods_spread_without_insisting(helm: Helm) -> None:
    for pod in helm.render().pods():
        if pod.owner.startswith(SERVING):
            constraints = pod.spec["topologySpreadConstraints"]
            assert {each["topologyKey"] for each in constraints} == {
                "kubernetes.io/hostname",
                "topology.kubernetes.io/zone",
            }
            for each in constraints:
                assert each["whenUnsatisfiable"] == "ScheduleAnyway"
                assert each["labelSelector"]["matchLabels"].items() <= pod.labels.items()


def test_services_of_the_namespace_leave_no_variables() -> None:
    for case, pod in all_pods():
        assert pod.spec["enableServiceLinks"] is False, f"{case}: {pod.owner}"


def test_everything_carries_the_common_labels() -> None:
    for case in CASES:
        for each in Helm("helm").render(case).objects:
            labels = each["metadata"].get("labels", {})
            if each["kind"] != "ScaledObject" and not each["metadata"]["name"].endswith("-note"):
                assert labels["app.kubernetes.io/instance"] == "rel", case
                assert labels["app.kubernetes.io/part-of"] == "holdfast", case
                assert labels["app.kubernetes.io/managed-by"] == "Helm", case
                assert each["metadata"]["namespace"] == "somewhere", case


def test_no_label_of_a_users_own_replaces_one_of_the_charts(helm: Helm) -> None:
    """Selectors, policies and monitors go by these; and a key twice would be no YAML at all."""
    mine = {"app.kubernetes.io/component": "mine", "example.com/team": "shop"}
    values = {
        "commonLabels": mine,
        "store": {"podLabels": mine},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": mine}},
    }
    rendered = helm.render(values=values)

    for labels in (
        rendered.pod("StatefulSet/store").labels,
        rendered.get("ServiceMonitor", "store")["metadata"]["labels"],
    ):
        assert labels["app.kubernetes.io/component"] == "store"
        assert labels["example.com/team"] == "shop"


def test_selectors_match_the_pods_they_are_for(helm: Helm) -> None:
    for case in CASES:
        manifests = helm.render(case)
        pods = [pod for pod in manifests.pods() if pod.owner.startswith(SERVING)]
        for kind in ("Deployment", "StatefulSet"):
            for each in manifests.of(kind).values():
                selector = each["spec"]["selector"]["matchLabels"].items()
                assert selector <= each["spec"]["template"]["metadata"]["labels"].items()
                assert sum(selector <= pod.labels.items() for pod in pods) == 1
        for name, service in manifests.of("Service").items():
            selector = service["spec"]["selector"].items()
            (selected,) = [pod for pod in pods if selector <= pod.labels.items()]
            ports = {port["name"] for port in selected.main["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name
            assert all(port["protocol"] == "TCP" for port in service["spec"]["ports"])


def test_disruption_budgets_take_one_pod_at_a_time(helm: Helm) -> None:
    budgets = helm.render().of("PodDisruptionBudget")

    assert budgets.keys() == {"store", "gateway", "workers", "db"}
    for budget in budgets.values():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_images_are_named_after_their_part_and_the_version(helm: Helm) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    rendered = helm.render()

    images = {pod.owner: {each["image"] for each in pod.containers} for pod in rendered.pods()}

    assert images["StatefulSet/store"] == {f"holdfast-store:{version}"}
    assert images["Deployment/gateway"] == {f"holdfast-gateway:{version}"}
    assert images["Deployment/operator"] == {f"holdfast-operator:{version}"}
    assert images["Deployment/workers"] == {f"holdfast-worker:{version}"}
    assert images["Deployment/db"] == {f"holdfast-db:{version}"}


def test_every_image_of_the_chart_is_a_target_of_the_dockerfile() -> None:
    targets = set(re.findall(r"(?m)^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text()))

    for pod in Helm("helm").render().pods():
        for container in pod.containers:
            part = container["image"].removeprefix("holdfast-").partition(":")[0]
            assert part in targets


def test_registry_tag_and_full_names_decide_about_images(helm: Helm) -> None:
    rendered = helm.render("existing")

    assert rendered.pod("StatefulSet/store").main["image"] == (
        "registry.example.com/team/holdfast-store:0.1.0-hotfix.1"
    )
    assert "@sha256:" in rendered.pod("Deployment/gateway").main["image"]
    for pod in rendered.pods():
        assert pod.spec["imagePullSecrets"] == [{"name": "registry-credentials"}]
        assert {each["imagePullPolicy"] for each in pod.containers} == {"Always"}


def test_sources_can_be_synced_into_every_pod_that_serves(helm: Helm) -> None:
    for pod in helm.render("dev-sync").pods():
        if not pod.owner.startswith(SERVING):
            continue
        seed = next(each for each in pod.containers if each["name"] == "seed-sources")
        assert seed["command"] == ["cp", "-r", "/app/src/.", "/seed/"]
        assert seed["image"] == pod.main["image"]
        assert seed["volumeMounts"] == [{"name": "sources", "mountPath": "/seed"}]
        assert {"name": "sources", "mountPath": "/app/src"} in pod.main["volumeMounts"]
        assert pod.main["command"][:3] == ["watchfiles", "--filter", "python"]
        program = re.fullmatch(r"python -m (holdfast_\w+) serve", pod.main["command"][3])
        assert program
        # Its own sources only: a change of a workflow must not restart the store.
        own = ["holdfast", "holdfast_chassis", program[1]]
        assert pod.main["command"][4:] == [f"/app/src/{package}" for package in own]
        assert "args" not in pod.main


def test_variables_of_a_users_own_come_after_the_charts(helm: Helm) -> None:
    environment = env_of(helm.render("own-workflows").pod("Deployment/payments").main)

    assert environment["PAYMENTS_TOKEN"] == {"secretKeyRef": {"name": "payments", "key": "token"}}
    assert list(environment)[-1] == "PAYMENTS_TOKEN"
