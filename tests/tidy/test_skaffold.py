"""Skaffold.yaml fits the tree: what it names exists, and what it should name is not missing.

Skaffold itself is not needed for these checks, and would find most of these mistakes only when the
command that uses the part in question is run.
"""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from tools.skaffold import Artifact, Skaffold, profile_names, read

ROOT = Path(__file__).parents[2]
PROFILES = ["dev", "observability", "ci", "postgresql"]
COMBINATIONS = [c for n in range(len(PROFILES) + 1) for c in itertools.combinations(PROFILES, n)]
API_VERSION = "skaffold/v4beta11"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture
def skaffold() -> Skaffold:
    return read(ROOT, environ={})


def test_bare_skaffold_finds_the_real_file() -> None:
    """Skaffold looks for skaffold.yaml and skaffold.yml; the first has another case here."""
    finder = yaml.safe_load((ROOT / "skaffold.yml").read_text())
    real = yaml.safe_load((ROOT / "Skaffold.yaml").read_text())

    assert finder == {
        "apiVersion": API_VERSION,
        "kind": "Config",
        "requires": [{"path": "Skaffold.yaml"}],
    }
    assert (real["apiVersion"], real["kind"]) == (API_VERSION, "Config")
    names = sorted(path.name for path in ROOT.iterdir() if path.name.lower().startswith("skaffold"))
    assert names == ["Skaffold.yaml", "skaffold.yml"]


@pytest.mark.parametrize("profiles", COMBINATIONS, ids="+".join)
def test_profiles_apply_alone_and_together(profiles: tuple[str, ...]) -> None:
    found = read(ROOT, profiles=profiles, environ={})

    (main,) = [release for release in found.releases if release.name == "holdfast"]
    files = main.values_files
    assert files == ("k8s/values/local.yaml", *(f"k8s/values/{name}.yaml" for name in profiles))
    assert all((ROOT / file).is_file() for file in files)
    assert profile_names(ROOT) == PROFILES


def test_images_are_built_from_what_the_dockerfile_has(skaffold: Skaffold) -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))

    for artifact in skaffold.artifacts:
        assert (ROOT / artifact.context / artifact.dockerfile).samefile(ROOT / "Dockerfile")
        assert artifact.target in stages
        assert artifact.image == f"holdfast-{artifact.target}"
        assert set(artifact.build_args) <= arguments
        default = re.search(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
        assert default
        assert artifact.build_args["BASE_IMAGE"] == default[1]


def test_the_environment_replaces_the_base_image() -> None:
    found = read(ROOT, environ={"BASE_IMAGE": "mirror.example.com/python:3.13"})

    bases = {artifact.build_args["BASE_IMAGE"] for artifact in found.artifacts}
    assert bases == {"mirror.example.com/python:3.13"}


def test_every_image_of_the_chart_is_built_and_every_other_one_verifies(skaffold: Skaffold) -> None:
    values = yaml.safe_load((ROOT / "charts/holdfast/values.yaml").read_text())
    built = {artifact.image for artifact in skaffold.artifacts}
    release = skaffold.releases[1]

    assert {f"images.{part}" for part in values["images"]} == set(release.templates)
    in_chart = {f"holdfast-{part}" for part in values["images"]}
    assert built - in_chart == {each.image for each in skaffold.verifications}
    assert in_chart <= built


def test_charts_and_manifests_exist(skaffold: Skaffold) -> None:
    assert [release.name for release in skaffold.releases] == ["holdfast-crds", "holdfast"]
    assert skaffold.releases[0].wait, "the second release needs the CRDs of the first"
    for release in skaffold.releases:
        chart = yaml.safe_load((ROOT / release.chart / "Chart.yaml").read_text())
        assert chart["name"] == release.name
    for verification in skaffold.verifications:
        assert (ROOT / verification.job).is_file()


def test_the_database_comes_before_those_who_migrate_it() -> None:
    found = read(ROOT, profiles=["ci", "postgresql"], environ={})

    releases = {release.name: release for release in found.releases}
    assert list(releases) == ["holdfast-crds", "dev-postgresql", "holdfast"]
    database = releases["dev-postgresql"]
    assert database.wait
    assert yaml.safe_load((ROOT / database.chart / "Chart.yaml").read_text())["name"] == (
        database.name
    )
    assert database.templates.keys() == {"images.postgresql"}
    (artifact,) = [a for a in found.artifacts if a.image == "holdfast-postgresql"]
    assert artifact.target in DOCKERFILE
    assert artifact.build_args == {"BASE_IMAGE": "python:3.13-slim"}


def test_every_source_that_an_image_has_is_copied_to_its_place(skaffold: Skaffold) -> None:
    copied = re.findall(r"^COPY (\S+) (/app/src/\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(copied) >= 7

    for artifact in skaffold.artifacts:
        if artifact.sync:
            for source, place in copied:
                _assert_copied(artifact, source, place)


def test_only_what_no_pod_runs_is_not_copied(skaffold: Skaffold) -> None:
    without = {artifact.image for artifact in skaffold.artifacts if not artifact.sync}

    assert without == {"holdfast-e2e"}
    developed = read(ROOT, profiles=["dev"], environ={})
    assert {a.image for a in developed.artifacts} == {a.image for a in skaffold.artifacts} - without
    assert all(artifact.build_args["DEV"] == "1" for artifact in developed.artifacts)


def test_sync_rules_are_about_files_that_exist(skaffold: Skaffold) -> None:
    for rule in {rule for artifact in skaffold.artifacts for rule in artifact.sync}:
        assert rule.src.startswith(rule.strip)
        assert any((ROOT / rule.strip).rglob("*.py")), rule


def _assert_copied(artifact: Artifact, source: str, place: str) -> None:
    files = list((ROOT / source).rglob("*.py"))
    assert files, source
    for file in files:
        wanted = f"{place}/{file.relative_to(ROOT / source)}"
        assert artifact.destination(str(file.relative_to(ROOT))) == wanted
