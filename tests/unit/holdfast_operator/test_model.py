"""What may stand in a WorkerGroup, and that the schema and the operator agree about it."""

from typing import Any

import jsonschema
import pytest

from holdfast_operator.model import (
    BadSpec,
    WorkerGroupSpec,
    WorkerGroupStatus,
    parse_spec,
    parse_status,
    status_document,
)
from tools.gen_crd import manifest, schema_of

GOOD: dict[str, Any] = {"groups": ["a", "b"], "scaleTargetRef": {"name": "w"}}


def with_rules(**fields: Any) -> dict[str, Any]:
    return {**GOOD, "autoscaling": fields}


BAD = [
    ({}, "groups"),
    ({**GOOD, "groups": []}, "groups: expected `array` of length >= 1"),
    ({**GOOD, "groups": ["a"] * 9}, "groups: expected `array` of length <= 8"),
    ({**GOOD, "groups": ["a b"]}, r"groups\[0\]"),
    ({**GOOD, "groups": ["a/b"]}, r"groups\[0\]"),
    ({**GOOD, "groups": ["a" * 256]}, r"groups\[0\]: expected `str` of length <= 255"),
    ({**GOOD, "scaleTargetRef": {}}, "scaleTargetRef"),
    ({**GOOD, "scaleTargetRef": {"name": "w", "kind": "StatefulSet"}}, "scaleTargetRef.kind"),
    ({**GOOD, "replicas": -1}, "replicas: expected `int` >= 0"),
    ({**GOOD, "replicas": 1_001}, "replicas: expected `int` <= 1000"),
    (with_rules(min=-1), "autoscaling.min: expected `int` >= 0"),
    (with_rules(max=0), "autoscaling.max: expected `int` >= 1"),
    (with_rules(max=1_001), "autoscaling.max: expected `int` <= 1000"),
    (with_rules(targetPerReplica=0), "autoscaling.targetPerReplica: expected `int` >= 1"),
    (with_rules(stabilizationSeconds=3_601), "autoscaling.stabilizationSeconds"),
    (with_rules(idleSeconds=-1), "autoscaling.idleSeconds"),
    (with_rules(mode="Off"), "autoscaling.mode"),
    (with_rules(min="1"), "autoscaling.min: expected `int`, got `str`"),
]


def test_a_spec_has_defaults_that_are_right_for_production() -> None:
    spec = parse_spec(GOOD)

    assert spec.scale_target_ref.api_version == "apps/v1"
    assert spec.scale_target_ref.kind == "Deployment"
    assert (spec.autoscaling.mode, spec.autoscaling.min, spec.autoscaling.max) == (
        "Operator",
        1,
        10,
    )
    assert (spec.autoscaling.stabilization_seconds, spec.autoscaling.idle_seconds) == (60, 120)


@pytest.mark.parametrize(("spec", "flaw"), BAD)
def test_a_bad_spec_is_refused_by_naming_the_field_and_its_limit(
    spec: dict[str, Any], flaw: str
) -> None:
    with pytest.raises(BadSpec, match=flaw):
        parse_spec(spec)


@pytest.mark.parametrize(("spec", "_flaw"), BAD)
def test_the_schema_refuses_what_the_operator_refuses(spec: dict[str, Any], _flaw: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, schema_of(WorkerGroupSpec))


@pytest.mark.parametrize("spec", [GOOD, with_rules(min=3, max=3), {**GOOD, "replicas": 0}])
def test_the_schema_accepts_what_the_operator_accepts(spec: dict[str, Any]) -> None:
    parse_spec(spec)

    jsonschema.validate(spec, schema_of(WorkerGroupSpec))


def test_what_fields_demand_of_each_other_is_a_rule_of_the_definition() -> None:
    fields = schema_of(WorkerGroupSpec)["properties"]

    (rule,) = fields["autoscaling"]["x-kubernetes-validations"]
    with pytest.raises(BadSpec, match=rule["message"]):
        parse_spec(with_rules(min=3, max=2))
    assert rule["rule"] == "self.min <= self.max"
    assert fields["groups"]["x-kubernetes-list-type"] == "set"
    with pytest.raises(BadSpec, match="twice"):
        parse_spec({**GOOD, "groups": ["a", "a"]})


def test_an_absent_object_is_filled_in_full() -> None:
    """The API server checks a default by the rules before the fields' own defaults fill it."""
    autoscaling = schema_of(WorkerGroupSpec)["properties"]["autoscaling"]

    assert autoscaling["default"] == {
        name: field["default"] for name, field in autoscaling["properties"].items()
    }


def test_unknown_fields_are_ignored() -> None:
    """A newer definition may have some that this operator does not know."""
    assert parse_spec({**GOOD, "later": 1}) == parse_spec(GOOD)


def test_the_definition_has_what_tools_ask_for() -> None:
    spec = manifest()["spec"]
    (version,) = spec["versions"]

    assert spec["names"]["shortNames"] == ["wg"]
    assert set(version["subresources"]) == {"status", "scale"}
    columns = [c["name"] for c in version["additionalPrinterColumns"] if not c.get("priority")]
    assert columns == [
        *("Group", "Mode", "Due", "Running", "Desired", "Replicas", "Min", "Max", "Ready", "Age"),
    ]


def test_a_status_survives_being_stored() -> None:
    status = WorkerGroupStatus(due=1, running=0, desired_replicas=2, observed_generation=3)

    document = status_document(status)

    assert document == {
        "due": 1,
        "running": 0,
        "desiredReplicas": 2,
        "observedGeneration": 3,
        "knownGroups": [],
        "conditions": [],
    }
    assert parse_status(document) == status
    jsonschema.validate(document, schema_of(WorkerGroupStatus))


@pytest.mark.parametrize("stored", [{}, {"due": "many"}, {"conditions": [{}]}, None])
def test_a_status_that_cannot_be_read_counts_as_never_written(stored: object) -> None:
    assert parse_status(stored) == WorkerGroupStatus()
