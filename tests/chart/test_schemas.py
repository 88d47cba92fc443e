"""Everything that is rendered fits the API that it is meant for: Kubernetes', ours, and others'."""

import pytest
import yaml

from tests.chart.charts import CASES, CHART, CRDS, Helm, Object
from tests.chart.schemas import (
    VERSIONS,
    builtin_flaws,
    crd_manifest,
    crd_schema,
    custom_flaws,
    is_builtin,
)

WORKER_GROUP: Object = {
    "apiVersion": "holdfast.dev/v1alpha1",
    "kind": "WorkerGroup",
    "metadata": {"name": "workers"},
    "spec": {"groups": ["workers"], "scaleTargetRef": {"name": "holdfast-workers"}},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_objects_fit_kubernetes(case: str, version: str) -> None:
    for manifest in Helm("helm").render(case).objects:
        if is_builtin(manifest):
            assert builtin_flaws(manifest, version) == [], manifest["metadata"]["name"]


@pytest.mark.parametrize("case", CASES)
def test_custom_resources_fit_their_schemas(case: str) -> None:
    for manifest in Helm("helm").render(case).objects:
        if not is_builtin(manifest):
            assert custom_flaws(manifest) == [], manifest["metadata"]["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_crd_fits_kubernetes(version: str) -> None:
    assert builtin_flaws(crd_manifest(), version) == []


def test_the_chart_supports_the_oldest_version_that_is_tested() -> None:
    text = (CRDS.parent / "holdfast" / "Chart.yaml").read_text()

    assert VERSIONS[0] == "1.30"
    assert f'kubeVersion: ">={VERSIONS[0]}.0-0"' in text


def test_values_have_the_bounds_and_defaults_of_the_crd() -> None:
    """What helm lets through, the API server takes; what is left out is what it would fill in."""
    ours = yaml.safe_load((CHART / "values.schema.json").read_text())["definitions"]["workerGroup"]
    theirs = crd_schema()["properties"]["spec"]["properties"]
    words = ("type", "minimum", "maximum", "enum", "pattern", "minLength", "maxLength")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["workerGroupDefaults"]

    for name, scaling in theirs["autoscaling"]["properties"].items():
        mine = ours["properties"]["autoscaling"]["properties"][name]
        for word in words:
            assert sorted_words(mine.get(word)) == sorted_words(scaling.get(word)), (name, word)
        assert defaults["autoscaling"][name] == scaling["default"], name
    mine, groups = ours["properties"]["groups"], theirs["groups"]
    assert mine["maxItems"] == groups["maxItems"]
    for word in words:
        assert mine["items"].get(word) == groups["items"].get(word), word


def sorted_words(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"groups": []}, "groups"),
        ({"groups": ["a", "b/c"]}, "b/c"),
        ({"autoscaling": {"mode": "Automatic"}}, "Automatic"),
        ({"autoscaling": {"min": -1}}, "-1"),
        ({"replica": 3}, "replica"),
    ],
)
def test_a_worker_group_that_does_not_fit_is_noticed(change: Object, flaw: str) -> None:
    wrong = {**WORKER_GROUP, "spec": {**WORKER_GROUP["spec"], **change}}

    assert custom_flaws(WORKER_GROUP) == []
    assert any(flaw in found for found in custom_flaws(wrong))


def test_a_builtin_object_that_does_not_fit_is_noticed() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"port": [{"port": 80}]},
    }

    assert any("port" in flaw for flaw in builtin_flaws(service, VERSIONS[-1]))
