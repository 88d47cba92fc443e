"""The PostgreSQL for development: as strict as the chart beside it, open to its clients alone."""

import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.chart.charts import ROOT, Helm, Manifests
from tests.chart.schemas import VERSIONS, builtin_flaws
from tests.chart.test_network import OUTSIDE, STRANGER, Place, may
from tests.chart.test_skaffold import rendered

CHART = ROOT / "charts" / "dev-postgresql"
PORT = 5432


def database(helm: Helm, values: Mapping[str, Any] | None = None) -> Manifests:
    arguments = ("template", "rel", str(CHART), "--namespace", "somewhere", "-f", "-")
    text = helm.run(*arguments, stdin=yaml.safe_dump(dict(values or {})))
    return Manifests(tuple(each for each in yaml.safe_load_all(text) if each))


def test_the_chart_lints_strictly(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART))


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_kubernetes(helm: Helm, version: str) -> None:
    for manifest in database(helm).objects:
        assert builtin_flaws(manifest, version) == [], manifest["metadata"]["name"]


def test_the_pod_fits_the_restricted_profile(helm: Helm) -> None:
    (pod,) = database(helm).pods()

    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.spec["automountServiceAccountToken"] is False
    assert len(pod.containers) == 2
    for container in pod.containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_its_clients_are_those_whom_the_chart_beside_it_lets_go_there(helm: Helm) -> None:
    """The values of the profile and those of the database name each other's pods."""
    manifests = rendered(helm, "postgresql")
    server = Place(labels=manifests.pod("StatefulSet/dev-postgresql").labels)
    pods = {
        pod.owner: Place(labels=pod.labels)
        for pod in manifests.pods()
        if pod.owner != "StatefulSet/dev-postgresql"
    }

    reaching = {owner for owner, here in pods.items() if may(manifests, here, server, PORT)}

    prefix = "holdfast-"  # of the release's name, which is the chart's as well
    assert {owner.replace(prefix, "") for owner in reaching} == {
        "Deployment/store",
        "Job/migrate",
        "Deployment/db",
    }
    assert not may(manifests, STRANGER, server, PORT)
    for port in (PORT, 443):
        assert not may(manifests, server, OUTSIDE, port)


def test_the_profile_names_the_secret_and_the_keys_that_there_are(helm: Helm) -> None:
    manifests = rendered(helm, "postgresql")
    keys = manifests.get("Secret", "dev-postgresql")["stringData"].keys()

    asked = {
        (reference["name"], reference["key"])
        for pod in manifests.pods()
        for container in pod.containers
        for each in container.get("env", [])
        if (reference := each.get("valueFrom", {}).get("secretKeyRef"))
    }

    assert asked == {("dev-postgresql", key) for key in keys}


def test_addresses_carry_the_passwords_that_the_server_is_told(helm: Helm) -> None:
    secret = database(helm).get("Secret", "rel")["stringData"]
    again = database(helm).get("Secret", "rel")["stringData"]

    for name in ("store", "application"):
        password = secret[f"{name}-password"]
        assert re.fullmatch(r"[A-Za-z0-9]{24}", password)
        assert secret[f"{name}-url"] == f"postgresql://{name}:{password}@rel:5432/{name}"
        assert password != again[f"{name}-password"], "nothing about it may be guessed"


def test_settings_reach_the_server(helm: Helm) -> None:
    settings = {"max_connections": 200, "shared_buffers": "64MB"}
    args = database(helm, {"settings": settings}).pod("StatefulSet/rel").main["args"]

    assert args[-4:] == ["-c", "max_connections=200", "-c", "shared_buffers=64MB"]


def test_nobody_connects_while_it_is_prepared() -> None:
    script = CHART / "files" / "prepare.sh"
    checked = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert "-c listen_addresses= " in script.read_text()


def test_the_readme_has_every_value() -> None:
    told = set(re.findall(r"(?m)^\| `([\w.]+)` \|", (CHART / "README.md").read_text()))
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    leaves = {
        f"{name}.{inner}" if name in {"image", "images", "persistence"} else name
        for name, value in values.items()
        for inner in (value if name in {"image", "images", "persistence"} else [""])
    }
    assert told == leaves
