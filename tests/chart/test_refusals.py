"""Values that cannot work fail before anything is installed, with a sentence that helps."""

from typing import Any

import pytest
import yaml

from tests.chart.charts import CHART, Helm, HelmFailed

REMOVED: dict[str, str] = yaml.safe_load((CHART / "files" / "removed-keys.yaml").read_text())

TOKEN: Any = {"token": {"existingSecret": "token"}}
SECRET = {"database": {"existingSecret": "given"}}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "several stores on SQLite": (
        {"store": {"replicas": 3}},
        "store.replicas is 3, but a SQLite store has one owner: set store.database.existingSecret",
    ),
    "a claim beside a database": (
        {"store": {**SECRET, "persistence": {"existingClaim": "promises"}}},
        "store.persistence.existingClaim is for SQLite and store.database.existingSecret for",
    ),
    "a grace period shorter than the drain": (
        {"store": {"drainSeconds": 60, "terminationGracePeriodSeconds": 30}},
        "store.terminationGracePeriodSeconds is 30, but stopping takes up to 75: raise it",
    ),
    "a gateway that is killed in the middle": (
        {"gateway": {"terminationGracePeriodSeconds": 10}},
        "gateway.terminationGracePeriodSeconds is 10, but stopping takes up to 35",
    ),
    "a worker that is killed in the middle": (
        {"workerGroups": {"workers": {"stopSeconds": 50, "terminationGracePeriodSeconds": 40}}},
        "workerGroups.workers.terminationGracePeriodSeconds is 40, but stopping takes up to 60",
    ),
    "an Ingress without a host": (
        {"gateway": {"ingress": {"enabled": True}}},
        "gateway.ingress is enabled without a host: add one to gateway.ingress.hosts",
    ),
    "a route without a Gateway": (
        {"gateway": {"httpRoute": {"enabled": True}}},
        "gateway.httpRoute is enabled, but hangs on no Gateway: add one to",
    ),
    "keys in two places": (
        {"auth": {"existingSecret": "keys", "url": "https://issuer/keys", **TOKEN}},
        "auth.existingSecret and auth.url both say where the keys are that verify tokens",
    ),
    "a gateway without a token": (
        {"auth": {"existingSecret": "keys"}},
        "auth makes the store ask for tokens, and gateway has none: set auth.token.existingSecret",
    ),
    "a worker group without a token": (
        {
            "auth": {"url": "https://issuer/keys"},
            "gateway": TOKEN,
            "operator": TOKEN,
        },
        "and workerGroups.db has none: set auth.token.existingSecret for all, or workerGroups.db",
    ),
    "certificates of clients without TLS": (
        {"tls": {"store": {"clientCertificates": True}}},
        "tls.store.clientCertificates needs tls.store.existingSecret",
    ),
    "certificates of the gateway's clients without TLS": (
        {"tls": {"gateway": {"clientCertificates": True}}},
        "tls.gateway.clientCertificates needs tls.gateway.existingSecret",
    ),
    "certificates that clients do not have": (
        {"tls": {"store": {"clientCertificates": True, "existingSecret": "tls"}}},
        "its clients have none: set tls.clients.existingSecret to a Secret with tls.crt, tls.key",
    ),
    "more fewest than most": (
        {"workerGroups": {"workers": {"autoscaling": {"min": 5, "max": 2}}}},
        "workerGroups.workers.autoscaling.min is 5 and max is 2: raise max or lower min",
    ),
    "several db workers on SQLite": (
        {"workerGroups": {"db": {"autoscaling": {"max": 2}}}},
        "group keeps a SQLite file, which one pod can use: set workerGroups.db.database",
    ),
    "db workers on SQLite that somebody else scales": (
        {"workerGroups": {"db": {"autoscaling": {"mode": "External"}}}},
        "workerGroups.db.autoscaling.mode is External, so nothing would keep the group at the one",
    ),
    "a claim beside an application database": (
        {"workerGroups": {"db": {**SECRET, "persistence": {"existingClaim": "books"}}}},
        "workerGroups.db.persistence.existingClaim is for SQLite and database.existingSecret for",
    ),
    "a db group with workflows": (
        {"workerGroups": {"db": {"modules": ["shop.orders"]}}},
        "workerGroups.db.modules are for the program worker, and this group runs db",
    ),
    "a group without workflows": (
        {"workerGroups": {"reports": {}}},
        "workerGroups.reports.modules is empty, so its pods would have nothing to run",
    ),
    "workflows that reach the application database": (
        {"workerGroups": {"workers": SECRET}},
        "workerGroups.workers.database is for the program db, the only one that may reach",
    ),
    "a group with a name of the store's": (
        {"workerGroups": {"store": {"modules": ["shop.stock"]}}},
        "workerGroups.store would have the name of another object of this chart",
    ),
    "a process that should join two groups": (
        {"workerGroups": {"reports": {"groups": ["a", "b"], "modules": ["shop.reports"]}}},
        'workerGroups.reports.groups is ["a","b"], but its pods would join ["a"]',
    ),
    "workers that leave the queue of their second name alone": (
        {"workerGroups": {"workers": {"groups": ["workers"]}}},
        'workerGroups.workers.groups is ["workers"], but its pods would join ["workers","worker"]',
    ),
    "two groups scaled for the same work": (
        {"workerGroups": {"more": {"groups": ["workers", "worker"], "modules": ["shop.orders"]}}},
        "workerGroups.more and workerGroups.workers both work on the queue of the same store group",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_combination_that_cannot_work_is_refused(helm: Helm, name: str) -> None:
    values, sentence = REFUSED[name]

    with pytest.raises(HelmFailed) as caught:
        helm.render(values=values)

    assert sentence in " ".join(str(caught.value).split())


@pytest.mark.parametrize("path", REMOVED)
def test_a_key_that_is_not_there_says_what_to_use_instead(path: str) -> None:
    values: Any = "anything"
    for key in reversed(path.replace("*", "workers").split(".")):
        values = {key: values}

    with pytest.raises(HelmFailed) as caught:
        Helm("helm").render(values=values)

    where = path.replace("*", "workers")
    assert f"This chart has no value {where}: {REMOVED[path]}" in str(caught.value)


@pytest.mark.parametrize("path", ["replicaCount", "workerGroups.*.database.url"])
def test_removed_keys_are_refused_by_all_versions_of_helm(helm: Helm, path: str) -> None:
    values: Any = "anything"
    for key in reversed(path.replace("*", "db").split(".")):
        values = {key: values}

    with pytest.raises(HelmFailed, match="This chart has no value"):
        helm.render(values=values)


def test_a_removed_key_that_is_null_is_no_mistake(helm: Helm) -> None:
    assert helm.render(values={"replicaCount": None}) == helm.render()


def test_two_groups_may_share_work_if_only_one_is_scaled_for_it(helm: Helm) -> None:
    more = {
        "groups": ["workers", "worker"],
        "modules": ["shop.orders"],
        "autoscaling": {"mode": "Manual"},
    }

    assert "more" in helm.render(values={"workerGroups": {"more": more}}).of("WorkerGroup")
