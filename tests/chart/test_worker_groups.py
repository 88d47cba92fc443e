"""Worker groups: a map by name, each a Deployment and a WorkerGroup, scaled by one owner only."""

import pytest

from tests.chart.charts import Helm, env_of


def test_a_group_is_a_deployment_and_a_worker_group_of_the_same_name(helm: Helm) -> None:
    rendered = helm.render()

    groups = rendered.of("WorkerGroup")
    assert groups.keys() == {"workers", "db"}
    for name, group in groups.items():
        full = f"rel-holdfast-{name}"
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": full}
        assert group["metadata"]["name"] == full
        assert group["spec"]["scaleTargetRef"] == target
        assert rendered.get("Deployment", name)["metadata"]["name"] == full
        assert rendered.pod(f"Deployment/{name}").labels["holdfast.dev/worker-group"] == name
    assert groups["workers"]["spec"]["groups"] == ["workers", "worker"]
    assert groups["db"]["spec"]["groups"] == ["db"]


def test_nobody_but_the_operator_decides_about_the_replicas_it_scales(helm: Helm) -> None:
    """A number here would be written at each upgrade, and the operator's undone."""
    for case in ("default", "external-autoscaler", "own-workflows"):
        rendered = helm.render(case)
        for name, group in rendered.of("WorkerGroup").items():
            assert "replicas" not in rendered.get("Deployment", name)["spec"], (case, name)
            assert "replicas" not in group["spec"], (case, name)


def test_without_the_operator_the_fewest_pods_are_all_pods(helm: Helm) -> None:
    rendered = helm.render("no-operator")

    assert rendered.of("WorkerGroup") == {}
    assert rendered.of("Role") == {}
    assert "operator" not in rendered.of("Deployment")
    assert rendered.get("Deployment", "workers")["spec"]["replicas"] == 3
    # With none at all nothing would ever start one.
    assert rendered.get("Deployment", "db")["spec"]["replicas"] == 1


def test_an_autoscaler_of_somebody_elses_keeps_the_deployment_also_without_operator(
    helm: Helm,
) -> None:
    rendered = helm.render("external-autoscaler", {"operator": {"enabled": False}})

    assert "replicas" not in rendered.get("Deployment", "workers")["spec"]
    assert rendered.get("Deployment", "db")["spec"]["replicas"] == 1


def test_a_group_says_only_what_differs(helm: Helm) -> None:
    rendered = helm.render("own-workflows")

    payments = rendered.get("WorkerGroup", "payments")["spec"]
    assert payments["groups"] == ["payments"]
    assert payments["autoscaling"] == {
        "mode": "Operator",
        "min": 0,
        "max": 40,
        "targetPerReplica": 4,
        "stabilizationSeconds": 60,
        "idleSeconds": 120,
    }
    reports = rendered.get("WorkerGroup", "reports")["spec"]
    assert reports["groups"] == ["reporting"]
    assert reports["autoscaling"]["mode"] == "Manual"
    variable = "HOLDFAST_WORKER_GROUP"
    assert env_of(rendered.pod("Deployment/reports").main)[variable] == "reporting"


def test_null_removes_a_group_and_all_that_belongs_to_it(helm: Helm) -> None:
    rendered = helm.render("own-workflows")

    for each in rendered.objects:
        assert each["metadata"]["name"] != "rel-holdfast-workers", each["kind"]


def test_null_for_a_group_that_never_was_does_nothing(helm: Helm) -> None:
    assert helm.render(values={"workerGroups": {"nobody": None}}) == helm.render()


def test_what_holds_for_all_groups_can_be_overruled_by_one(helm: Helm) -> None:
    rendered = helm.render("own-workflows")
    budgets = rendered.of("PodDisruptionBudget")

    assert budgets["payments"]["spec"]["maxUnavailable"] == "50%"
    assert "db" not in budgets
    payments = rendered.pod("Deployment/payments")
    assert payments.labels["example.com/tier"] == "work"
    assert payments.main["image"] == "registry.example.com/shop/payments:1.4.2"
    assert payments.main["resources"]["limits"] == {"cpu": "4", "memory": "2Gi"}
    assert "topologySpreadConstraints" not in payments.spec
    assert payments.spec["priorityClassName"] == "low"


def test_an_application_database_on_sqlite_goes_from_pod_to_pod(helm: Helm) -> None:
    rendered = helm.render()
    claim = rendered.get("PersistentVolumeClaim", "db")

    assert rendered.get("Deployment", "db")["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered.get("WorkerGroup", "db")["spec"]["autoscaling"]["max"] == 1
    assert rendered.pod("Deployment/db").spec["volumes"][1]["persistentVolumeClaim"] == {
        "claimName": claim["metadata"]["name"]
    }
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    environment = env_of(rendered.pod("Deployment/db").main)
    assert environment["HOLDFAST_DB_DATABASE_URL"] == "sqlite:////data/application.db"


def test_an_application_database_of_its_own_allows_many_pods(helm: Helm) -> None:
    rendered = helm.render("database")
    db = rendered.pod("Deployment/db")

    strategy = rendered.get("Deployment", "db")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert rendered.get("WorkerGroup", "db")["spec"]["autoscaling"]["max"] == 5
    assert env_of(db.main)["HOLDFAST_DB_DATABASE_URL"] == {
        "secretKeyRef": {"name": "application-database", "key": "APP_URL"}
    }
    assert [volume["name"] for volume in db.spec["volumes"]] == ["tmp"]


def test_only_db_groups_learn_of_the_application_database(helm: Helm) -> None:
    for pod in helm.render("database").pods():
        if pod.owner != "Deployment/db":
            assert "application-database" not in str(pod.spec), pod.owner


def test_an_application_databases_claim_may_exist(helm: Helm) -> None:
    rendered = helm.render("existing")

    assert rendered.of("PersistentVolumeClaim") == {}
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in rendered.pod("Deployment/db").spec["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert claims == ["books"]


@pytest.mark.parametrize(("case", "kept"), [("default", "1Gi"), ("own-workflows", "1Gi")])
def test_no_storage_class_and_none_at_all_differ(helm: Helm, case: str, kept: str) -> None:
    claim = helm.render(case).get("PersistentVolumeClaim", "db")["spec"]

    assert claim["resources"]["requests"]["storage"] == kept
    assert claim.get("storageClassName") == (None if case == "default" else "")


def test_the_operator_may_do_what_it_calls_and_nothing_else(helm: Helm) -> None:
    rendered = helm.render()
    rules = rendered.get("Role", "operator")["rules"]

    granted = {
        (group, resource): set(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {
        ("holdfast.dev", "workergroups"): {"get", "list", "watch"},
        ("holdfast.dev", "workergroups/status"): {"patch"},
        ("apps", "deployments"): {"list", "watch"},
        ("apps", "deployments/scale"): {"get", "patch"},
        ("", "pods"): {"list", "patch"},
        ("", "events"): {"create"},
    }
    binding = rendered.get("RoleBinding", "operator")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "rel-holdfast-operator", "namespace": "somewhere"}
    ]
    assert not rendered.of("ClusterRole")
    assert not rendered.of("ClusterRoleBinding")


def test_one_operator_at_a_time(helm: Helm) -> None:
    operator = helm.render().get("Deployment", "operator")["spec"]

    assert (operator["replicas"], operator["strategy"]) == (1, {"type": "Recreate"})
