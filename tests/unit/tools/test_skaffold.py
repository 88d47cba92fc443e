"""The reader of Skaffold.yaml understands what that file uses, and refuses the rest."""

from typing import Any

import pytest

from tools.skaffold import (
    Artifact,
    NotUnderstood,
    Release,
    SyncRule,
    apply_profile,
    fill,
)

RELEASE = Release(
    name="holdfast",
    chart="charts/holdfast",
    values_files=("a.yaml", "b.yaml"),
    set_values={"gateway.replicas": "2"},
    templates={"images.store": "{{.IMAGE_FULLY_QUALIFIED_holdfast_store}}"},
    wait=False,
)


def profile(*patches: dict[str, Any]) -> dict[str, Any]:
    return {"name": "p", "patches": list(patches)}


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("sdk/**/*.py", "sdk/holdfast/client.py", True),
        ("sdk/**/*.py", "sdk/top.py", True),
        ("sdk/**/*.py", "sdk/holdfast/core/promise.py", True),
        ("sdk/**/*.py", "sdk/holdfast/page.html", False),
        ("sdk/**/*.py", "other/sdk/x.py", False),
        ("services/*/x.py", "services/store/x.py", True),
        ("services/*/x.py", "services/store/deep/x.py", False),
    ],
)
def test_stars_cross_folders_only_when_there_are_two(
    pattern: str,
    path: str,
    matches: bool,  # noqa: FBT001 - the expectation
) -> None:
    rule = SyncRule(src=pattern, dest="/app/src", strip="")

    assert (rule.destination(path) is not None) == matches


def test_the_first_rule_that_fits_decides_where_a_file_goes() -> None:
    rules = (
        SyncRule(src="sdk/**/*.py", dest="/app/src", strip="sdk/"),
        SyncRule(src="**/*.py", dest="/elsewhere", strip=""),
    )
    artifact = Artifact(
        image="i", context=".", dockerfile="Dockerfile", target="t", build_args={}, sync=rules
    )

    assert artifact.destination("sdk/holdfast/a.py") == "/app/src/holdfast/a.py"
    assert artifact.destination("tools/a.py") == "/elsewhere/tools/a.py"
    assert artifact.destination("README.md") is None


def test_templates_take_values_and_defaults() -> None:
    assert fill("{{.A}}/{{ .B }}", {"A": "a", "B": "b"}) == "a/b"
    assert fill('{{ .A | default "d" }}', {}) == "d"
    assert fill('{{ .A | default "d" }}', {"A": "a"}) == "a"
    assert fill("plain", {}) == "plain"


@pytest.mark.parametrize("template", ["{{.MISSING}}", "{{ upper .A }}", "{{.A"])
def test_templates_without_a_value_are_refused(template: str) -> None:
    with pytest.raises(NotUnderstood):
        fill(template, {"A": "a"} if "MISSING" in template else {})


def test_a_release_becomes_arguments_of_helm() -> None:
    arguments = RELEASE.helm_arguments({"holdfast-store": "r/holdfast-store:1@sha256:0"})

    assert arguments == [
        *("holdfast", "charts/holdfast", "--values", "a.yaml", "--values", "b.yaml"),
        *("--set", "gateway.replicas=2", "--set", "images.store=r/holdfast-store:1@sha256:0"),
    ]


def test_an_image_that_nobody_built_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="IMAGE_FULLY_QUALIFIED_holdfast_store"):
        RELEASE.helm_arguments({"holdfast-gateway": "g"})


def test_patches_add_replace_and_remove() -> None:
    document = {"list": [{"a": 1}, {"b": 2}], "map": {"x": 1, "y.z": 2}}

    patched = apply_profile(
        document,
        profile(
            {"op": "add", "path": "/list/-", "value": {"c": 3}},
            {"op": "replace", "path": "/map/x", "value": 5},
            {"op": "remove", "path": "/map/y.z"},
            {"op": "remove", "path": "/list/0"},
            {"op": "add", "path": "/map/n", "value": True},
        ),
    )

    assert patched == {"list": [{"b": 2}, {"c": 3}], "map": {"x": 5, "n": True}}
    assert document == {"list": [{"a": 1}, {"b": 2}], "map": {"x": 1, "y.z": 2}}


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "remove", "path": "/map/absent"},
        {"op": "replace", "path": "/map/absent", "value": 1},
        {"op": "add", "path": "/absent/x", "value": 1},
        {"op": "replace", "path": "/list/7", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "move", "path": "/map/x"},
    ],
)
def test_a_patch_that_does_not_apply_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood, match="does not apply"):
        apply_profile({"list": [1], "map": {"x": 1}}, profile(patch))


def test_a_profile_with_parts_of_its_own_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="build"):
        apply_profile({}, {**profile(), "build": {}})
