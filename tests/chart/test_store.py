"""The store: one replica on a volume, or several on a database that hooks migrate first."""

import pytest

from holdfast.rpc.endpoints import parse_endpoints
from tests.chart.charts import Helm, env_of


def test_sqlite_is_owned_by_the_one_pod_of_a_stateful_set(helm: Helm) -> None:
    rendered = helm.render()
    store = rendered.get("StatefulSet", "store")["spec"]

    assert "store" not in rendered.of("Deployment")
    assert store["replicas"] == 1
    # A StatefulSet ends the old pod before it starts the new one.
    assert store["updateStrategy"] == {"type": "RollingUpdate"}
    (claim,) = store["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    assert {"name": "data", "mountPath": "/data"} in rendered.pod("StatefulSet/store").main[
        "volumeMounts"
    ]


def test_a_store_that_never_gets_ready_does_not_stand_in_the_way_of_the_next_one(
    helm: Helm,
) -> None:
    """A StatefulSet that keeps an order waits for the pod that it should replace, for ever."""
    store = helm.render().get("StatefulSet", "store")["spec"]

    assert store["podManagementPolicy"] == "Parallel"


def test_the_claim_template_holds_nothing_that_an_upgrade_changes(helm: Helm) -> None:
    """It is immutable: a label with the version would make every upgrade fail."""
    store = helm.render("own-workflows").get("StatefulSet", "store")["spec"]
    (claim,) = store["volumeClaimTemplates"]

    assert claim["metadata"] == {
        "name": "data",
        "labels": store["selector"]["matchLabels"],
        "annotations": {"example.com/backup": "daily"},
    }
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"


def test_a_claim_that_exists_is_mounted(helm: Helm) -> None:
    rendered = helm.render("existing")

    assert "volumeClaimTemplates" not in rendered.get("StatefulSet", "store")["spec"]
    assert {
        "name": "data",
        "persistentVolumeClaim": {"claimName": "promises"},
    } in rendered.pod("StatefulSet/store").spec["volumes"]


def test_sqlite_is_migrated_by_an_init_container_of_the_same_image(helm: Helm) -> None:
    rendered = helm.render()
    (migrate,) = rendered.pod("StatefulSet/store").spec["initContainers"]
    main = rendered.pod("StatefulSet/store").main

    assert migrate["command"] + migrate["args"] == ["holdfast-store", "migrate"]
    assert migrate["image"] == main["image"]
    url = "HOLDFAST_STORE_DATABASE_URL"
    assert env_of(migrate) == {url: "sqlite:////data/store.db"}
    assert env_of(main)[url] == env_of(migrate)[url]
    assert {"name": "data", "mountPath": "/data"} in migrate["volumeMounts"]
    assert "migrate" not in rendered.of("Job")


def test_a_database_takes_its_url_from_a_secret_alone(helm: Helm) -> None:
    rendered = helm.render("database")
    store = rendered.get("Deployment", "store")["spec"]

    assert "store" not in rendered.of("StatefulSet")
    assert store["replicas"] == 3
    assert store["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    reference = {"secretKeyRef": {"name": "store-database", "key": "url"}}
    for owner in ("Deployment/store", "Job/migrate"):
        container = rendered.pod(owner).main
        assert env_of(container)["HOLDFAST_STORE_DATABASE_URL"] == reference
    assert rendered.of("Secret") == {}
    assert "initContainers" not in rendered.pod("Deployment/store").spec
    assert rendered.of("PersistentVolumeClaim") == {}


def test_a_database_is_migrated_before_anything_else_of_the_release(helm: Helm) -> None:
    """The account and the way through the network come first, and all is taken away afterwards."""
    rendered = helm.render("database")
    hooks = {
        (each["kind"], each["metadata"]["name"]): each["metadata"]["annotations"]
        for each in rendered.objects
        if each["metadata"].get("annotations", {}).get("helm.sh/hook", "test") != "test"
    }

    name = "rel-holdfast-migrate"
    assert hooks.keys() == {("ServiceAccount", name), ("NetworkPolicy", name), ("Job", name)}
    for annotations in hooks.values():
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        policy = annotations["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded"
    weights = {kind: int(each["helm.sh/hook-weight"]) for (kind, _), each in hooks.items()}
    assert weights["ServiceAccount"] < weights["Job"]
    assert weights["NetworkPolicy"] < weights["Job"]


def test_tables_are_contracted_on_demand_when_the_old_stores_are_gone(helm: Helm) -> None:
    """Before that they would still be in use; and nobody could go back."""
    values = {"store": {"migration": {"contract": True}}}
    rendered = helm.render("database", values)
    (owned,) = helm.render(values=values).pod("StatefulSet/store").spec["initContainers"]

    assert helm.render("database").of("Job").keys() == {"migrate"}
    first, then = rendered.get("Job", "migrate"), rendered.get("Job", "contract")
    assert rendered.pod("Job/migrate").main["args"] == ["migrate"]
    assert first["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert rendered.pod("Job/contract").main["args"] == ["migrate", "--contract"]
    assert then["metadata"]["annotations"]["helm.sh/hook"] == "post-upgrade"
    # Account and policy of the first Job are gone by then.
    for kind in ("ServiceAccount", "NetworkPolicy"):
        hook = rendered.get(kind, "migrate")["metadata"]["annotations"]["helm.sh/hook"]
        assert hook == "pre-install,pre-upgrade,post-upgrade"
    assert rendered.pod("Job/contract").labels == rendered.pod("Job/migrate").labels
    # While old stores still end it fails, with the code for what cannot be, and is tried again.
    assert "podFailurePolicy" not in then["spec"]
    # One pod owns a SQLite file: the old one has ended.
    assert owned["args"] == ["migrate", "--contract"]


def test_a_migration_that_fails_is_tried_again_and_given_up(helm: Helm) -> None:
    rendered = helm.render("database")
    job = rendered.get("Job", "migrate")["spec"]

    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (3, 600)
    assert job["ttlSecondsAfterFinished"] == 86_400
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    assert rule["onExitCodes"]["containerName"] == rendered.pod("Job/migrate").main["name"]
    account = rendered.get("ServiceAccount", "migrate")["metadata"]
    assert account["annotations"]["example.com/role"] == "migrations"
    assert rendered.pod("Job/migrate").spec["serviceAccountName"] == account["name"]


def test_the_migration_needs_nothing_that_is_not_there_yet(helm: Helm) -> None:
    """Hooks run before the chart's other accounts exist, also when those have other names."""
    values = {"store": {"serviceAccount": {"name": "given"}}}
    rendered = helm.render("database", values)

    assert rendered.pod("Deployment/store").spec["serviceAccountName"] == "given"
    assert rendered.pod("Job/migrate").spec["serviceAccountName"] == "rel-holdfast-migrate"


def test_the_store_is_found_by_one_name(helm: Helm) -> None:
    for case in ("default", "database"):
        ports = helm.render(case).get("Service", "store")["spec"]["ports"]
        assert {port["name"]: port["port"] for port in ports} == {"grpc": 50051, "metrics": 9090}


def test_a_stateful_set_has_the_headless_service_it_names(helm: Helm) -> None:
    rendered = helm.render()

    assert (
        rendered.get("StatefulSet", "store")["spec"]["serviceName"] == "rel-holdfast-store-headless"
    )
    assert "store-headless" in rendered.of("Service")


def test_every_pod_of_the_store_is_found_by_one_name(helm: Helm) -> None:
    for case in ("default", "database"):
        rendered = helm.render(case)
        headless = rendered.get("Service", "store-headless")["spec"]

        assert headless["clusterIP"] == "None"
        assert headless["selector"] == rendered.get("Service", "store")["spec"]["selector"]
        # A monitor that selects by labels finds this Service as well.
        assert {port["name"] for port in headless["ports"]} == {"grpc"}


@pytest.mark.parametrize(
    ("owner", "program"),
    [("operator", "operator"), ("gateway", "gateway"), ("workers", "worker"), ("db", "db")],
)
def test_everybody_finds_each_of_several_stores(helm: Helm, owner: str, program: str) -> None:
    """Behind the Service alone the operator sees the members of one, and others crowd there."""
    name = f"HOLDFAST_{program.upper()}_STORE_URL"
    one, several = (
        env_of(helm.render(case).pod(f"Deployment/{owner}").main)[name]
        for case in ("default", "database")
    )

    assert one == "grpc://rel-holdfast-store:50051"
    assert several == f"{one},rel-holdfast-store-headless:50051"
    assert [str(each) for each in parse_endpoints(several)] == [
        one,
        "grpc://rel-holdfast-store-headless:50051",
    ]
