"""The JSON schema of a chart's values: Helm refuses what does not fit it, before any template runs.

Draft 7, which all versions of Helm 3 and 4 read. Nothing is allowed that values.yaml does not have,
so that a misspelt key is an error and not a default.
"""

from collections.abc import Mapping
from typing import Any, Final

from tools.chart.values import Value

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
TYPES: Final[dict[type, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
SETTING_TYPES: Final = ["string", "number", "boolean", "null"]

# What a chart of which this one is a part may pass on.
FROM_PARENTS: Final[dict[str, Any]] = {
    "enabled": {
        "type": "boolean",
        "description": "For the condition of a chart that has this one as a dependency.",
    },
    "global": {"type": "object", "description": "Values of all charts; this one reads none."},
}

Settings = Mapping[str, Mapping[str, str]]
"""Of each service, its settings by full name, and what they mean."""


def schema_of(values: Value, *, title: str, settings: Settings, removed: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Write the schema; `removed` are keys that a template refuses with a sentence of their own."""
    by_name = {child.name: child for child in values.children}
    shapes = {child.each: by_name[child.each] for child in values.children if child.each}
    definitions = {
        _item_name(name): _object(shape, settings, partial=True) for name, shape in shapes.items()
    }
    for definition in definitions.values():
        definition["type"] = ["object", "null"]
    root = _object(values, settings)
    root["properties"] |= FROM_PARENTS
    schema = {"$schema": DRAFT, "title": title, **root, "definitions": definitions}
    for path, sentence in removed.items():
        _let_pass(schema, path.split("."), sentence)
    return schema


def _schema(value: Value, settings: Settings, *, partial: bool) -> dict[str, Any]:
    described = {"description": value.doc} if value.doc else {}
    if value.each:
        items = {"$ref": f"#/definitions/{_item_name(value.each)}"}
        return described | {"type": "object", **value.schema, "additionalProperties": items}
    if value.settings:
        return described | _settings_object(value, settings)
    if value.is_group:
        return _object(value, settings, partial=partial)
    kind = TYPES.get(type(value.default))
    return described | ({"type": kind} if kind else {}) | value.schema


def _object(value: Value, settings: Settings, *, partial: bool = False) -> dict[str, Any]:
    """Write the schema of a fixed set of keys.

    Helm takes a key away whose value is null, and a template would stumble over that; only keys
    that are null by default may be missing. Of a partial object all keys may.
    """
    schema: dict[str, Any] = {"description": value.doc} if value.doc else {}
    schema |= {
        "type": "object",
        "properties": {
            child.name: _schema(child, settings, partial=partial) for child in value.children
        },
        "additionalProperties": False,
    }
    required = [child.name for child in value.children if child.default is not None]
    return schema if partial else {**schema, "required": required}


def _settings_object(value: Value, settings: Settings) -> dict[str, Any]:
    known = {
        name: {"type": SETTING_TYPES, "description": doc}
        for service in value.settings
        for name, doc in settings[service].items()
    }
    return {"type": "object", "properties": known, "additionalProperties": False}


def _let_pass(schema: dict[str, Any], path: list[str], sentence: str) -> None:
    """Allow a key that is refused elsewhere, wherever its path leads; `*` leads into each item."""
    definitions = schema["definitions"]
    level = schema
    for key in path[:-1]:
        found = level["additionalProperties"] if key == "*" else level["properties"][key]
        level = definitions[found["$ref"].rpartition("/")[2]] if "$ref" in found else found
    level["properties"][path[-1]] = {"description": f"Refused: {sentence}"}


def _item_name(name: str) -> str:
    return name.removesuffix("Defaults")
