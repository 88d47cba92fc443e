"""What can be said about the dashboards and rules without a Prometheus that scrapes."""

import itertools
import re
import subprocess
import sys
from typing import Any, Final

import pytest

from tests.integration.monitoring.files import DASHBOARDS, ROOT, panels

UNITS: Final = {"bytes", "ops", "percentunit", "reqps", "s", "short"}
"""The units in use, each known to Grafana; a misspelled one shows bare numbers."""

PANELS: Final = [pytest.param(p, id=f"{name}: {p['title']}") for name, p in panels()]
WHOLE: Final = [pytest.param(d, id=name) for name, d in DASHBOARDS.items()]


def test_there_are_the_three_dashboards() -> None:
    assert set(DASHBOARDS) == {"holdfast-overview", "holdfast-worker-groups", "holdfast-gateway"}
    assert all(name == dashboard["uid"] for name, dashboard in DASHBOARDS.items())


def test_they_are_what_their_code_says() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "tools.gen_dashboards", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("dashboard", WHOLE)
def test_panels_have_ids_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    found = dashboard["panels"]
    cells = [cell for panel in found for cell in cells_of(panel["gridPos"])]

    assert len({panel["id"] for panel in found}) == len(found)
    assert len(set(cells)) == len(cells)
    assert all(x < 24 for x, _ in cells)
    titles = [panel["title"] for panel in found if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)


def cells_of(place: dict[str, int]) -> set[tuple[int, int]]:
    across = range(place["x"], place["x"] + place["w"])
    down = range(place["y"], place["y"] + place["h"])
    return set(itertools.product(across, down))


@pytest.mark.parametrize("dashboard", WHOLE)
def test_the_data_source_is_chosen_by_whoever_looks(dashboard: dict[str, Any]) -> None:
    variables = {v["name"]: v for v in dashboard["templating"]["list"]}

    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert sources_in(dashboard) == {("prometheus", "${datasource}")}


def sources_in(part: object) -> set[tuple[str, str]]:
    """Every data source that is named anywhere below."""
    found: set[tuple[str, str]] = set()
    if isinstance(part, dict):
        if "datasource" in part:
            source = part["datasource"]
            assert isinstance(source, dict), f"a data source by name: {source}"
            found.add((source["type"], source["uid"]))
        for value in part.values():
            found |= sources_in(value)
    elif isinstance(part, list):
        for value in part:
            found |= sources_in(value)
    return found


@pytest.mark.parametrize("dashboard", WHOLE)
def test_every_variable_that_is_used_exists_and_every_one_that_exists_is_used(
    dashboard: dict[str, Any],
) -> None:
    defined = {v["name"] for v in dashboard["templating"]["list"]}
    text = "".join(
        f"{p['title']} {p.get('repeat', '')} {[t['expr'] for t in p.get('targets', [])]}"
        for p in dashboard["panels"]
    )
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval"}

    assert used | {"datasource"} == defined
    assert all(p["repeat"] in defined for p in dashboard["panels"] if "repeat" in p)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    units = [defaults["unit"]]
    for override in panel["fieldConfig"]["overrides"]:
        units += [p["value"] for p in override["properties"] if p["id"] == "unit"]

    assert panel["description"].endswith((".", ")"))
    assert set(units) <= UNITS
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    if len(panel["targets"]) > 1:
        assert all(target["legendFormat"] != "__auto" for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_legend_uses_only_labels_that_its_query_keeps(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
        if "group_left" in target["expr"]:
            kept |= {"component", "instance"}

        assert wanted <= kept, f"{target['legendFormat']} of {target['expr']}"
