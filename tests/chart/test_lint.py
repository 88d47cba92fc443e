"""Both charts pass helm's own checks, whatever values they get, and belong to one version."""

import shutil
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.chart.charts import CASES, CHART, CRDS, ROOT, Helm
from tests.chart.schemas import VERSIONS, builtin_flaws, is_builtin


@pytest.mark.parametrize("case", CASES)
def test_the_chart_lints_strictly(helm: Helm, case: str) -> None:
    values = CHART / "ci" / f"{case}-values.yaml"

    said = helm.run("lint", "--strict", str(CHART), "-f", str(values))

    assert "0 chart(s) failed" in said


def test_the_chart_of_the_crds_lints_strictly(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CRDS))


@pytest.mark.parametrize("case", CASES)
def test_all_versions_of_helm_render_the_same(helm: Helm, case: str) -> None:
    assert helm.render(case) == Helm("helm").render(case)


@pytest.mark.parametrize("case", CASES)
def test_no_two_objects_have_one_name(helm: Helm, case: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in helm.render(case).objects]

    assert len(names) == len(set(names))


def test_charts_have_the_version_of_the_product() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    for chart in (CHART, CRDS, ROOT / "charts" / "dev-postgresql"):
        described = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert (described["version"], described["appVersion"]) == (version, version)


def test_a_package_holds_what_templates_read_and_no_test_values(helm: Helm, tmp_path: Path) -> None:
    helm.run("package", str(CHART), "--destination", str(tmp_path))

    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        names = {name.removeprefix("holdfast/") for name in archive.getnames()}
    read = {"values.schema.json", "files/removed-keys.yaml", "files/tests/check.py"}
    assert read <= names
    assert any(name.startswith("files/dashboards/") for name in names)
    assert any(name.startswith("files/rules/") for name in names)
    assert not any(name.startswith("ci/") for name in names)


def notes_of(helm: Helm, folder: Path, *options: str) -> str:
    """Render the notes; without a cluster helm does that only for what is a manifest."""
    chart = shutil.copytree(CHART, folder / "chart")
    notes = chart / "templates" / "NOTES.txt"
    text = notes.read_text()
    manifest = (
        '{{- define "notes" }}' + text + '{{ end -}}\nnotes: {{ include "notes" . | toJson }}'
    )
    (chart / "templates" / "notes.yaml").write_text(manifest)
    notes.unlink()
    only = ("--show-only", "templates/notes.yaml")
    rendered: str = yaml.safe_load(helm.run("template", "rel", str(chart), *options, *only))[
        "notes"
    ]
    return rendered


def test_the_notes_name_the_objects_of_the_release(helm: Helm, tmp_path: Path) -> None:
    notes = notes_of(helm, tmp_path, "-n", "somewhere")

    assert "kubectl -n somewhere port-forward service/rel-holdfast-gateway 8000:8000" in notes
    assert "curl -s http://127.0.0.1:8000/orders -H 'content-type: application/json'" in notes
    assert "helm test rel -n somewhere" in notes


def test_the_notes_know_where_the_examples_are_mounted(helm: Helm, tmp_path: Path) -> None:
    said = notes_of(
        helm,
        tmp_path,
        *("--set", "gateway.settings.HOLDFAST_GATEWAY_APPS_PREFIX=/apps"),
        *("--set", "gateway.service.type=LoadBalancer", "--set", "networkPolicy.enabled=false"),
    )

    assert "curl -s http://127.0.0.1:8000/apps/orders/orders/ord-k8s-1/status" in said
    assert "Nobody is asked for a token" in said
    assert "can be reached from outside: do it, or let something in front of it ask" in said
    assert "Network policies are off" in said


def test_names_that_look_like_numbers_or_booleans_stay_names(helm: Helm) -> None:
    values = {
        "store": {"database": {"existingSecret": "789"}, "serviceAccount": {"name": "10"}},
        "workerGroups": {"on": {"modules": ["shop.orders"], "priorityClassName": "11"}},
        "commonLabels": {"example.com/version": "1.0"},
    }
    rendered = helm.run(
        *("template", "123", str(CHART), "--namespace", "456", "-f", "-"),
        stdin=yaml.safe_dump(values),
    )

    for manifest in filter(None, yaml.safe_load_all(rendered)):
        if is_builtin(manifest):
            assert builtin_flaws(manifest, VERSIONS[-1]) == []
        assert manifest["metadata"]["namespace"] == "456"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "123"
