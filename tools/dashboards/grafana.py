"""Panels and dashboards as values, and how Grafana writes them.

Only what ours need: time series, single numbers and tables of instant values. A panel says what is
shown; where it goes follows from the order, and its id from that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

COLUMNS: Final = 24
SCHEMA_VERSION: Final = 39  # of Grafana 11; older ones are brought up to date when they are loaded
HEADING_HEIGHT: Final = 1

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
"""Chosen by whoever looks, so that no dashboard knows the name of a Prometheus."""

GREEN, ORANGE, RED = "green", "orange", "red"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What one line, number or column shows; `legend` is made of labels."""

    expr: str
    legend: str = ""
    is_right: bool = False
    """Read on the axis to the right, for what is of another kind."""
    unit: str = ""
    """Where it is not that of the panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `unit` is an id that Grafana knows."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    height: int = 8
    steps: Mapping[float, str] = field(default_factory=dict)
    """From which value on which color is shown; green below."""
    is_stacked: bool = False
    is_bars: bool = False
    repeat: str | None = None
    """The variable of which each value gets a panel of its own."""
    columns: tuple[str, ...] = ()
    """The labels of a table, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice above the panels: the values of a label, all of them at first."""

    name: str
    label: str
    metric: str
    of: str
    """The label whose values are offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page; `uid` is part of its address and never changes."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def to_json(self) -> Json:
        """Write it as Grafana does."""
        return {
            "annotations": {"list": []},
            "description": self.description,
            "editable": True,
            "graphTooltip": 1,  # the same instant is marked in every panel
            "id": None,
            "links": [_links()],
            "panels": list(_panels(self.rows)),
            "refresh": "10s",
            "schemaVersion": SCHEMA_VERSION,
            "tags": ["holdfast"],
            "templating": {"list": [_datasource(), *map(_variable, self.variables)]},
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
        }


def _links() -> Json:
    return {
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "tags": ["holdfast"],
        "title": "Holdfast",
        "type": "dashboards",
    }


def _datasource() -> Json:
    return {
        "label": "Data source",
        "name": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "type": "datasource",
    }


def _variable(variable: Variable) -> Json:
    query = f"label_values({variable.metric}, {variable.of})"
    return {
        "allValue": ".*",  # also what has no such label: outside Kubernetes there is no namespace
        "current": {"text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": query,
        "includeAll": True,
        "label": variable.label,
        "multi": True,
        "name": variable.name,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,  # whenever the time range changes: groups come and go
        "sort": 1,
        "type": "query",
    }


def _panels(rows: Sequence[Row]) -> Iterator[Json]:
    """Lay panels out from left to right under their headings, and number them."""
    next_id, top = 1, 0
    for row in rows:
        yield _heading(row, panel_id=next_id, top=top)
        next_id, top, left, height = next_id + 1, top + HEADING_HEIGHT, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield {"id": next_id, "gridPos": place, **_panel(panel)}
            next_id, left, height = next_id + 1, left + panel.width, max(height, panel.height)
        top += height


def _heading(row: Row, *, panel_id: int, top: int) -> Json:
    return {
        "collapsed": False,
        "gridPos": {"h": HEADING_HEIGHT, "w": COLUMNS, "x": 0, "y": top},
        "id": panel_id,
        "panels": [],
        "title": row.title,
        "type": "row",
    }


def _panel(panel: Panel) -> Json:
    written: Json = {
        "datasource": DATASOURCE,
        "description": panel.description,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
        "targets": [
            _target(query, ref=_ref(number), is_table=panel.kind == "table")
            for number, query in enumerate(panel.queries)
        ],
        "title": panel.title,
        "type": panel.kind,
    }
    if panel.repeat:
        written |= {"maxPerRow": COLUMNS // panel.width, "repeat": panel.repeat}
        written["repeatDirection"] = "h"
    if panel.kind == "table":
        written["transformations"] = _table_transformations(panel)
    return written


def _ref(number: int) -> str:
    return chr(ord("A") + number)


def _target(query: Query, *, ref: str, is_table: bool) -> Json:
    return {
        "datasource": DATASOURCE,
        "expr": query.expr,
        "format": "table" if is_table else "time_series",
        "instant": is_table,
        "legendFormat": query.legend or "__auto",
        "range": not is_table,
        "refId": ref,
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": GREEN, "value": None}]
    steps += [{"color": color, "value": value} for value, color in sorted(panel.steps.items())]
    defaults: Json = {
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "unit": panel.unit,
    }
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "bars" if panel.is_bars else "line",
            "fillOpacity": 30 if panel.is_stacked or panel.is_bars else 0,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none"},
        }
    return defaults


def _overrides(panel: Panel) -> list[Json]:
    overrides = []
    for number, query in enumerate(panel.queries):
        properties = []
        if query.is_right:
            properties.append({"id": "custom.axisPlacement", "value": "right"})
        if query.unit:
            properties.append({"id": "unit", "value": query.unit})
        if properties:
            matcher = {"id": "byFrameRefID", "options": _ref(number)}
            overrides.append({"matcher": matcher, "properties": properties})
    return overrides


def _options(panel: Panel) -> Json:
    match panel.kind:
        case "stat":
            return {
                "colorMode": "value",
                "graphMode": "area",
                "textMode": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            }
        case "table":
            return {"showHeader": True}
        case "timeseries":
            return {
                "legend": {
                    "calcs": ["lastNotNull", "max"],
                    "displayMode": "table",
                    "placement": "bottom",
                    "showLegend": True,
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            }


def _table_transformations(panel: Panel) -> list[Json]:
    order = {name: number for number, name in enumerate((*panel.columns, "Value"))}
    return [{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": order}}]
