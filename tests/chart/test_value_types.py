"""values.schema.json refuses wrong types, wrong words and keys that do not exist."""

import json
from typing import Any

import jsonschema
import pytest
import yaml

from tests.chart.charts import Helm, HelmFailed
from tools.chart.values import Value, read_values
from tools.gen_chart_docs import CHART

WRONG: dict[str, tuple[Any, str]] = {
    "a number as text": ({"store": {"replicas": "3"}}, "replicas"),
    "a number below the least": ({"gateway": {"replicas": -1}}, "replicas"),
    "a switch as text": ({"networkPolicy": {"enabled": "yes"}}, "enabled"),
    "a list as text": ({"extraObjects": "none"}, "extraObjects"),
    "text as a list": ({"image": {"tag": ["1"]}}, "tag"),
    "a group of values as text": ({"store": {"database": "postgresql://"}}, "database"),
    "a misspelt key": ({"gateway": {"replica": 2}}, "replica"),
    "a misspelt key at the top": ({"gatway": {}}, "gatway"),
    "a misspelt key of a worker group": ({"workerGroups": {"workers": {"module": []}}}, "module"),
    "a pull policy that does not exist": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "a mode that does not exist": (
        {"workerGroups": {"workers": {"autoscaling": {"mode": "Automatic"}}}},
        "mode",
    ),
    "a program that does not exist": ({"workerGroups": {"workers": {"program": "web"}}}, "program"),
    "too many pods": ({"workerGroups": {"workers": {"autoscaling": {"max": 1001}}}}, "max"),
    "too many store groups": (
        {"workerGroups": {"workers": {"groups": [f"g{number}" for number in range(9)]}}},
        "groups",
    ),
    "a module that Python could not import": (
        {"workerGroups": {"workers": {"modules": ["shop-orders"]}}},
        "modules",
    ),
    "a name that Kubernetes would not take": ({"workerGroups": {"My_Group": {}}}, "My_Group"),
    "a host with a path that does not begin": (
        {"gateway": {"ingress": {"hosts": [{"host": "a", "path": "b"}]}}},
        "path",
    ),
    "a misspelt key of a host": ({"gateway": {"ingress": {"hosts": [{"hots": "a"}]}}}, "hots"),
    "a port beyond the last": ({"networkPolicy": {"storeDatabase": {"ports": [70000]}}}, "ports"),
    "nobody to answer DNS": ({"networkPolicy": {"dnsTo": []}}, "dnsTo"),
    "a probe's timing that does not exist": (
        {"probes": {"liveness": {"intervalSeconds": 1}}},
        "intervalSeconds",
    ),
    "a budget of nothing": ({"gateway": {"pdb": {"maxUnavailable": 0}}}, "maxUnavailable"),
    "a variable without a name": ({"gateway": {"extraEnv": [{"value": "1"}]}}, "extraEnv"),
    "a needed value taken away": ({"store": {"drainSeconds": None}}, "drainSeconds"),
    "a needed group of values taken away": ({"operator": None}, "operator"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, name: str) -> None:
    values, key = WRONG[name]

    with pytest.raises(HelmFailed) as caught:
        helm.render(values=values)

    said = str(caught.value)
    assert "values don't meet the specifications of the schema" in said
    assert key in said


def leaves() -> list[Value]:
    values = read_values((CHART / "values.yaml").read_text())
    return [
        value
        for value in values.walk()
        if not value.children and value.default is not None and value.path[0] != "workerGroups"
    ]


@pytest.mark.parametrize("value", leaves(), ids=lambda value: ".".join(value.path))
def test_no_value_takes_the_wrong_type(value: Value) -> None:
    """Not through helm, which would take minutes for all of them; the schema is the same."""
    schema = jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
    values: Any = yaml.safe_load((CHART / "values.yaml").read_text())
    assert schema.is_valid(values)

    place = values
    for key in value.path[:-1]:
        place = place[key]
    place[value.path[-1]] = "text" if isinstance(value.default, dict) else {"not": "this"}

    assert not schema.is_valid(values)


def test_a_chart_of_which_this_is_a_part_may_pass_its_own_values(helm: Helm) -> None:
    assert helm.render(values={"enabled": True, "global": {"team": "shop"}}) == helm.render()
