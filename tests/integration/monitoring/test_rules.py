"""The alerting and recording rules, as Prometheus's own tool sees them."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from tests.integration.monitoring.files import (
    CHART_FILES,
    RULE_TESTS,
    RULES,
    RUNBOOKS,
    alerts,
    recorded,
)
from tests.integration.monitoring.prometheus import program

SECTIONS: Final = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
SEVERITIES: Final = {"critical", "warning", "info"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )


def test_the_rules_are_valid() -> None:
    checked = promtool("check", "rules", "--lint-fatal", *map(str, RULES))

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_before(path: Any) -> None:
    tested = promtool("test", "rules", str(path))

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_seen_firing_and_not_firing() -> None:
    silent = {case["alertname"] for case in rule_cases() if not case.get("exp_alerts")}
    firing = {case["alertname"] for case in rule_cases() if case.get("exp_alerts")}

    assert firing == silent == set(alerts())


def rule_cases() -> Iterator[dict[str, Any]]:
    for path in RULE_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            yield from test["alert_rule_test"]


def test_every_recording_rule_is_used_by_an_alert() -> None:
    used = " ".join(alert["expr"] for alert in alerts().values())

    assert [name for name in recorded() if name not in used] == []


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_a_person_needs(name: str) -> None:
    alert = alerts()[name]
    annotations = alert["annotations"]

    assert re.fullmatch(r"Holdfast([A-Z][a-z]+)+", name)
    assert alert["labels"]["severity"] in SEVERITIES
    assert "for" in alert
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["summary"].endswith(".")
    # The chart replaces the beginning of this line by an address.
    assert annotations["runbook_url"] == f"docs/runbooks/{name}.md"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("Holdfast*.md")} == set(alerts())


@pytest.mark.parametrize("name", alerts())
def test_a_runbook_has_its_four_sections(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()

    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == SECTIONS
    for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        assert len(section.split()) > 7, f"a section of {name} says nothing"


def test_runbooks_point_at_what_exists() -> None:
    links = [
        (path, target)
        for path in RUNBOOKS.glob("*.md")
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", path.read_text())
    ]

    assert len(links) > len(alerts())
    assert [(p.name, target) for p, target in links if not (p.parent / target).exists()] == []


def test_the_index_lists_every_runbook_with_its_severity() -> None:
    listed = re.findall(
        r"^\| \[(Holdfast\w+)\]\(\1\.md\) \| (\w+) \|",
        (RUNBOOKS / "README.md").read_text(),
        flags=re.MULTILINE,
    )

    assert dict(listed) == {n: a["labels"]["severity"] for n, a in alerts().items()}
    assert len(listed) == len(alerts())


def test_expressions_in_runbooks_name_metrics_that_the_rules_and_dashboards_know() -> None:
    known = "".join(path.read_text() for path in CHART_FILES.rglob("*.*"))
    named = {
        name
        for path in RUNBOOKS.glob("*.md")
        for name in re.findall(r"\bholdfast_[a-z0-9_]+", path.read_text())
    }

    assert sorted(name for name in named if name not in known) == []
