"""Schemas of what the chart renders.

Kubernetes' own come with the package kubernetes-validate; ours is in the CRD. Of third parties we
know the fields that we write, so that a misspelt one is noticed; whether they mean what we think,
only their own software can tell.
"""

import functools
import json
from importlib import resources
from typing import Any

import jsonschema
import referencing
import yaml

from tests.chart.charts import CRDS, Object

FOLDER = resources.files("kubernetes_validate") / "kubernetes-json-schema"
OLDEST = (1, 30)

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}
_PORT_NAME = {"enum": ["metrics"]}


def _closed(*required: str, **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _open(*required: str, **properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(item: object) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


_ENDPOINT = _closed(
    *("port", "path", "interval", "scrapeTimeout"),
    port=_PORT_NAME,
    path={"const": "/metrics"},
    honorLabels={"type": "boolean"},
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    relabelings=_OBJECTS,
    metricRelabelings=_OBJECTS,
)
_SELECTOR = _closed("matchLabels", matchLabels=_TEXTS)
_RULE = _closed(
    "expr",
    alert={"type": "string"},
    record={"type": "string"},
    expr={"type": "string", "minLength": 1},
    **{"for": _DURATION, "keep_firing_for": _DURATION},
    labels=_TEXTS,
    annotations=_TEXTS,
)
_RULE_GROUP = _closed("name", "rules", name={"type": "string"}, interval=_DURATION)
_RULE_GROUP["properties"]["rules"] = _list(_RULE)

THIRD_PARTIES = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _closed(
        "selector", "endpoints", selector=_SELECTOR, endpoints=_list(_ENDPOINT)
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _closed(
        *("selector", "podMetricsEndpoints"),
        selector=_SELECTOR,
        podMetricsEndpoints=_list(_ENDPOINT),
        podTargetLabels=_list({"type": "string"}),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _closed("groups", groups=_list(_RULE_GROUP)),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _closed(
        *("parentRefs", "rules"),
        parentRefs=_list(
            _closed(
                "name",
                name={"type": "string"},
                namespace={"type": "string"},
                sectionName={"type": "string"},
            )
        ),
        hostnames=_list({"type": "string"}),
        rules=_list(
            _closed(
                matches=_list(
                    _closed(
                        "path",
                        path=_closed(
                            *("type", "value"),
                            type={"enum": ["PathPrefix", "Exact"]},
                            value={"type": "string", "pattern": "^/"},
                        ),
                    )
                ),
                backendRefs=_list(
                    _closed("name", "port", name={"type": "string"}, port={"enum": [8000, 8001]})
                ),
            )
        ),
    ),
    # From the values of a case, not from the chart: KEDA's own fields are its user's affair.
    ("keda.sh/v1alpha1", "ScaledObject"): _open(
        *("scaleTargetRef", "triggers"),
        triggers=_list(
            _closed(
                *("type", "metadata"),
                type={"const": "external"},
                metadata=_closed(
                    *("scalerAddress", "group"),
                    scalerAddress={"type": "string"},
                    group={"type": "string"},
                    targetPerReplica={"type": "string", "pattern": "^[0-9]+$"},
                    metric={"enum": ["due+running", "due", "running"]},
                ),
            )
        ),
    ),
}


def _supported() -> tuple[str, ...]:
    names = (entry.name.removeprefix("v").partition("-")[0] for entry in FOLDER.iterdir())
    found = {
        tuple(int(part) for part in name.split(".")[:2]) for name in names if name[0].isdigit()
    }
    return tuple(f"{major}.{minor}" for major, minor in sorted(found) if (major, minor) >= OLDEST)


VERSIONS = _supported()


def is_builtin(manifest: Object) -> bool:
    """Tell Kubernetes' own objects from custom resources."""
    group, slash, _ = manifest["apiVersion"].partition("/")
    ours = {"networking.k8s.io", "rbac.authorization.k8s.io", "apiextensions.k8s.io"}
    return not slash or "." not in group or group in ours


def builtin_flaws(manifest: Object, version: str) -> list[str]:
    """Say what is wrong with an object in the eyes of a version of Kubernetes; strict."""
    group, _, number = manifest["apiVersion"].rpartition("/")
    api = f"{group.partition('.')[0]}-{number}" if group else number
    return _flaws(_builtin_validator(version, f"{manifest['kind'].lower()}-{api}"), manifest)


def custom_flaws(manifest: Object) -> list[str]:
    """Say what is wrong with a custom resource."""
    kind = manifest["apiVersion"], manifest["kind"]
    if kind == ("holdfast.dev/v1alpha1", "WorkerGroup"):
        return _flaws(jsonschema.Draft202012Validator(crd_schema()), manifest)
    return _flaws(jsonschema.Draft202012Validator(THIRD_PARTIES[kind]), manifest["spec"])


def crd_manifest() -> Object:
    """Return the CRD itself."""
    manifest: Object = yaml.safe_load((CRDS / "templates" / "workergroups.yaml").read_text())
    return manifest


def crd_schema() -> dict[str, Any]:
    """Return the schema of a WorkerGroup; a field that it does not have is an error."""
    (version,) = crd_manifest()["spec"]["versions"]
    schema: dict[str, Any] = _shut(version["schema"]["openAPIV3Schema"])
    # What all objects have, and a CRD does not say.
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return schema


def _shut(schema: Any) -> Any:
    """Refuse unknown fields, which the API server would drop without a word."""
    match schema:
        case dict():
            shut = {key: _shut(value) for key, value in schema.items()}
            if "properties" in shut:
                shut.setdefault("additionalProperties", False)
            return shut
        case list():
            return [_shut(each) for each in schema]
        case _:
            return schema


@functools.cache
def _builtin_validator(version: str, name: str) -> Any:
    folder = FOLDER / f"v{version}.0-local-strict"
    schema = json.loads((folder / f"{name}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Any:
    text = (FOLDER / f"v{version}.0-local-strict" / "_definitions.json").read_text()
    # The definitions and what refers to them know each other by the addresses in their `$id`.
    registry: Any = referencing.Registry()
    return referencing.Resource.from_contents(json.loads(text)) @ registry


def _flaws(validator: Any, instance: Object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]
