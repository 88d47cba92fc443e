"""The dashboards, rules and runbooks of the repository, and the expressions in them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[3]
CHART_FILES: Final = ROOT / "charts" / "holdfast" / "files"
RULES: Final = sorted((CHART_FILES / "rules").glob("*.yaml"))
RULE_TESTS: Final = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
RUNBOOKS: Final = ROOT / "docs" / "runbooks"

DASHBOARDS: Final[dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((CHART_FILES / "dashboards").glob("*.json"))
}

VARIABLES: Final = {
    "$__rate_interval": "1m",
    "$namespace": ".*",
    "$worker_group": ".*",
    "$group": ".*",
}
"""What Grafana puts in when everything is shown."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMPARISON: Final = re.compile(r"(?<![=!~<>])(==|!=|>=|<=|>|<)(?![=~])")


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel that shows something, with the name of its dashboard."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield name, panel


def shown(expr: str) -> str:
    """Put values into an expression of a panel, as Grafana does."""
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    return expr


def rules() -> Iterator[dict[str, Any]]:
    """Every alert and every recording rule."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, str]:
    """The expression of every recording rule by name."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def without_thresholds(expr: str) -> str:
    """Make an alert's expression return series although nothing is wrong.

    Comparisons answer 0 or 1 instead of dropping series, and `unless` becomes `and`. What is left
    returns nothing exactly if a metric, a label or a join is wrong.
    """
    texts = _QUOTED.findall(expr)
    bare = _QUOTED.sub('""', expr)
    selectors = re.findall(r"\{[^}]*\}", bare)
    bare = re.sub(r"\{[^}]*\}", "{}", bare)
    bare = _COMPARISON.sub(r"\1 bool", bare)
    bare = re.sub(r"\bunless\b", "and", bare)
    for selector in selectors:
        bare = bare.replace("{}", selector, 1)
    for text in texts:
        bare = bare.replace('""', text, 1)
    return bare
