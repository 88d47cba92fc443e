import json
import re
import tomllib

import pytest

from tests.unit.images.dockerfile import (
    IMAGES,
    PARTS,
    ROOT,
    Dockerfile,
    ignore_patterns,
    reaches_the_builder,
    read,
)

DATABASE = "postgresql"
"""The target of a database for development, which has nothing of ours in it."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return read()


@pytest.mark.parametrize("image", [*IMAGES, DATABASE])
def test_each_image_is_a_target_that_starts_from_the_base_argument(
    dockerfile: Dockerfile, image: str
) -> None:
    assert dockerfile.lineage(image)[0].base == "${BASE_IMAGE}"


def test_no_stage_starts_from_anything_but_the_base_argument(dockerfile: Dockerfile) -> None:
    bases = {dockerfile.lineage(name)[0].base for name in dockerfile.stages}

    assert bases == {"${BASE_IMAGE}"}


def test_the_base_has_a_version_and_nothing_is_the_latest(dockerfile: Dockerfile) -> None:
    assert re.fullmatch(r"python:3\.\d+-slim", dockerfile.arguments["BASE_IMAGE"])
    assert ":latest" not in (ROOT / "Dockerfile").read_text()


def test_the_base_is_a_python_that_holdfast_supports(dockerfile: Dockerfile) -> None:
    version = re.search(r"3\.\d+", dockerfile.arguments["BASE_IMAGE"])

    assert version
    supported = f"Programming Language :: Python :: {version[0]}"
    assert supported in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("image", [*IMAGES, DATABASE])
def test_each_image_runs_as_a_user_with_a_number_and_a_name(
    dockerfile: Dockerfile, image: str
) -> None:
    """Kubernetes can refuse root only when it sees a number; kopf wants a name for it."""
    users = dockerfile.all(image, "USER")
    accounts = "".join(dockerfile.all(image, "RUN"))

    assert users == ["10001:10001"]
    assert re.search(r"'holdfast:x:10001:10001:[^']*' >>/etc/passwd", accounts)


@pytest.mark.parametrize("image", IMAGES)
def test_each_image_says_what_it_is(dockerfile: Dockerfile, image: str) -> None:
    labels = dockerfile.pairs(image, "LABEL")
    prefix = "org.opencontainers.image"

    assert labels[f"{prefix}.title"] == f"holdfast-{image}"
    assert labels[f"{prefix}.licenses"] == PROJECT["project"]["license"]
    assert labels[f"{prefix}.source"]
    assert labels[f"{prefix}.description"]
    for name in ("version", "revision", "created"):
        assert labels[f"{prefix}.{name}"] == f"${name.upper()}"
        assert name.upper() in " ".join(dockerfile.stages[image].get("ARG")).split()


def test_the_database_for_development_says_what_it_is_and_ends_at_once(
    dockerfile: Dockerfile,
) -> None:
    """On SIGTERM PostgreSQL waits for its clients, and is killed in the end."""
    labels = dockerfile.pairs(DATABASE, "LABEL")

    assert labels["org.opencontainers.image.title"] == f"holdfast-{DATABASE}"
    assert labels["org.opencontainers.image.licenses"] == "PostgreSQL"
    assert dockerfile.all(DATABASE, "STOPSIGNAL") == ["SIGINT"]
    assert dockerfile.copies(DATABASE) == []


def test_images_have_the_version_of_the_distribution(dockerfile: Dockerfile) -> None:
    assert dockerfile.arguments["VERSION"] == PROJECT["project"]["version"]


@pytest.mark.parametrize("part", PARTS)
def test_each_process_starts_by_its_command(dockerfile: Dockerfile, part: str) -> None:
    (entrypoint,) = dockerfile.all(part, "ENTRYPOINT")
    (command,) = dockerfile.all(part, "CMD")

    assert json.loads(entrypoint) == [f"holdfast-{part}"]
    assert json.loads(command) == ["serve"]
    assert f"holdfast-{part}" in PROJECT["project"]["scripts"]


def test_the_checks_of_a_deployment_start_as_a_module(dockerfile: Dockerfile) -> None:
    (entrypoint,) = dockerfile.all("e2e", "ENTRYPOINT")

    assert json.loads(entrypoint) == ["python", "-m", "tests.e2e.verify"]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_takes_what_its_own_stages_made_and_makes_nothing_itself(
    dockerfile: Dockerfile, image: str
) -> None:
    """So no tool of the build is in it, and no package of another part."""
    assert not dockerfile.stages[image].get("RUN")
    assert dockerfile.copies(image) == [
        (f"{image}-packages", ["/opt/venv"], "/opt/venv"),
        (f"{image}-sources", ["/app"], "/app"),
    ]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_installs_its_own_lock_and_what_reloads_only_when_asked(
    dockerfile: Dockerfile, image: str
) -> None:
    runs = dockerfile.stages[f"{image}-packages"].get("RUN")

    assert runs[0] == f"sh install_locked.sh {image}.lock"
    assert runs[1:] == (
        [] if image == "e2e" else ['[ "$DEV" != 1 ] || sh install_locked.sh reload.lock']
    )
    assert dockerfile.arguments["DEV"] == "0"


def test_packages_are_installed_by_hash_and_never_compiled() -> None:
    script = (ROOT / "tools" / "install_locked.sh").read_text()

    assert "--require-hashes --only-binary :all:" in script


@pytest.mark.parametrize("part", PARTS)
def test_an_image_has_the_packages_of_its_part_only(dockerfile: Dockerfile, part: str) -> None:
    copied = {target for _, _, target in dockerfile.copies(f"{part}-sources")}

    wanted = {f"/app/src/{name}" for name in ("holdfast", "holdfast_chassis", f"holdfast_{part}")}
    assert copied == {"/build/", *wanted}


def test_each_package_that_ships_is_in_an_image(dockerfile: Dockerfile) -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {
        source
        for name in dockerfile.stages
        for stage, sources, _ in dockerfile.copies(name)
        if stage is None
        for source in sources
    }

    # The command line starts processes on one machine; in a cluster Kubernetes does.
    assert set(packages) - copied == {"sdk/holdfast_cli"}


def test_everything_that_is_copied_exists_and_reaches_the_builder(dockerfile: Dockerfile) -> None:
    for name in dockerfile.stages:
        for stage, sources, _ in dockerfile.copies(name):
            for source in sources if stage is None else []:
                assert (ROOT / source).exists(), source
                assert reaches_the_builder(source), source


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/ready",
        "tests/unit/images/dockerfile.py",
        "sdk/holdfast/__pycache__/client.cpython-313.pyc",
        "services/store/holdfast_store/__pycache__",
        "sdk/holdfast/v1/tasks_pb2.pyi",
    ],
)
def test_what_no_image_needs_does_not_reach_the_builder(path: str) -> None:
    assert not reaches_the_builder(path)


def test_no_exception_of_dockerignore_has_a_wildcard_in_its_path() -> None:
    """Docker does not look into a folder when the text of no exception begins with its path."""
    exceptions = [pattern for pattern in ignore_patterns() if pattern.startswith("!")]

    assert exceptions
    assert not [pattern for pattern in exceptions if "*" in pattern]


@pytest.mark.parametrize("part", PARTS)
def test_each_setting_of_an_image_exists(dockerfile: Dockerfile, part: str) -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text()
    environment = dockerfile.pairs(part, "ENV")
    settings = [name for name in environment if name.startswith("HOLDFAST_")]

    assert f"HOLDFAST_{part.upper()}_METRICS_LISTEN" in settings
    for name in settings:
        assert f"| `{name}` |" in reference, name


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_works_when_its_root_cannot_be_written_to(
    dockerfile: Dockerfile, image: str
) -> None:
    environment = dockerfile.pairs(image, "ENV")

    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["HOME"] == "/tmp"
    paths = re.findall(r"sqlite:///(\S+)", " ".join(environment.values()))
    assert all(path.startswith("/data/") for path in paths)


def test_the_build_names_no_package_index() -> None:
    """Where packages come from is a matter of whoever builds."""
    texts = [(ROOT / name).read_text() for name in ("Dockerfile", "tools/install_locked.sh")]

    assert not re.findall(r"index-url|INDEX_URL|find-links|trusted-host", "".join(texts))


@pytest.mark.parametrize("word", ["HEALTHCHECK", "MAINTAINER", "ONBUILD", "SHELL", "ADD", "VOLUME"])
def test_only_instructions_are_used_that_every_builder_has(
    dockerfile: Dockerfile, word: str
) -> None:
    assert not [name for name, stage in dockerfile.stages.items() if stage.get(word)]
    assert not re.search(r"^(RUN|COPY) --(mount|chmod|link)|<<", (ROOT / "Dockerfile").read_text())
