"""Read Skaffold.yaml, for those who do what it says without Skaffold.

`make dev-cluster` and the end-to-end tests build, install and verify from here, so that Skaffold's
file is the one place that names images, build arguments, charts and values. Only what that file
uses is understood; anything else is refused, rather than read differently from Skaffold.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

FILE: Final = "Skaffold.yaml"
TEMPLATE: Final = re.compile(
    r"\{\{\s*\.(?P<name>\w+)\s*(?:\|\s*default\s+\"(?P<default>[^\"]*)\"\s*)?\}\}"
)
IMAGE_VARIABLE: Final = "IMAGE_FULLY_QUALIFIED_"


class NotUnderstood(Exception):
    """The file says something that this reader does not know; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRule:
    """Changed files that match `src` are copied below `dest`, without the prefix `strip`."""

    src: str
    dest: str
    strip: str

    def destination(self, path: str) -> str | None:
        """Say where a changed file goes, or `None` when the rule is not about it."""
        if not _glob(self.src).fullmatch(path):
            return None
        return str(PurePosixPath(self.dest) / path.removeprefix(self.strip))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An image to build."""

    image: str
    context: str
    dockerfile: str
    target: str
    build_args: Mapping[str, str]
    sync: tuple[SyncRule, ...]

    def build_arguments(self) -> list[str]:
        """Return what follows `docker build --tag NAME`."""
        arguments = ["--file", str(Path(self.context) / self.dockerfile), "--target", self.target]
        for name, value in self.build_args.items():
            arguments += ["--build-arg", f"{name}={value}"]
        return [*arguments, self.context]

    def destination(self, path: str) -> str | None:
        """Say where a changed file goes in the running containers, by the first rule that fits."""
        found = (rule.destination(path) for rule in self.sync)
        return next((destination for destination in found if destination is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A Helm release to install."""

    name: str
    chart: str
    values_files: tuple[str, ...]
    set_values: Mapping[str, str]
    templates: Mapping[str, str]
    wait: bool

    def helm_arguments(self, images: Mapping[str, str]) -> list[str]:
        """Return what follows `helm upgrade --install`; `images` maps artifacts to full names."""
        arguments = [self.name, self.chart]
        for file in self.values_files:
            arguments += ["--values", file]
        variables = {IMAGE_VARIABLE + _variable(image): full for image, full in images.items()}
        filled = {key: fill(value, variables) for key, value in self.templates.items()}
        for key, value in {**self.set_values, **filled}.items():
            arguments += ["--set", f"{key}={value}"]
        return [*arguments, "--wait"] if self.wait else arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """A port of a Service that is wanted on this machine."""

    service: str
    port: int
    local_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A container that looks at what was installed; it runs as the Job of a manifest."""

    name: str
    container: str
    image: str
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skaffold:
    """All that Skaffold.yaml says, with some of its profiles applied."""

    artifacts: tuple[Artifact, ...]
    releases: tuple[Release, ...]
    port_forwards: tuple[PortForward, ...]
    verifications: tuple[Verification, ...]


def read(folder: Path, *, profiles: Iterable[str] = (), environ: Mapping[str, str]) -> Skaffold:
    """Read the file of a folder; raises NotUnderstood, or KeyError for a profile it lacks."""
    document = _load(folder)
    by_name = {profile["name"]: profile for profile in document.pop("profiles", [])}
    for name in profiles:
        document = apply_profile(document, by_name[name])
    _refuse_others(
        document,
        {"apiVersion", "kind", "metadata", "build", "deploy", "portForward"} | {"verify"},
        "the file",
    )
    return Skaffold(
        artifacts=tuple(_artifact(a, environ) for a in document["build"]["artifacts"]),
        releases=tuple(_release(r) for r in document["deploy"]["helm"]["releases"]),
        port_forwards=tuple(_port_forward(f) for f in document.get("portForward", [])),
        verifications=tuple(_verification(v) for v in document.get("verify", [])),
    )


def profile_names(folder: Path) -> list[str]:
    """Return the names of the profiles that the file has."""
    return [profile["name"] for profile in _load(folder).get("profiles", [])]


def apply_profile(document: Any, profile: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any YAML
    """Return the document with the patches of a profile; a path that does not exist is refused."""
    _refuse_others(profile, {"name", "activation", "patches"}, f"the profile {profile['name']}")
    patched = copy.deepcopy(document)
    for patch in profile["patches"]:
        try:
            _apply_patch(patched, **patch)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise NotUnderstood(
                f"profile {profile['name']}: the patch of {patch.get('path')} does not apply"
            ) from error
    return patched


def fill(template: str, variables: Mapping[str, str]) -> str:
    """Replace the templates in a text; raises NotUnderstood for a variable without a value."""

    def value(match: re.Match[str]) -> str:
        found = variables.get(match["name"]) or match["default"]
        if not found:
            raise NotUnderstood(f"{template} needs a value for {match['name']}")
        return found

    filled = TEMPLATE.sub(value, template)
    if "{{" in filled:
        raise NotUnderstood(f"the template {template} is of a kind that is not known here")
    return filled


def _load(folder: Path) -> Any:  # noqa: ANN401 - any YAML
    """Read the file; parts that YAML aliases share become parts of their own, as in Skaffold."""
    return json.loads(json.dumps(yaml.safe_load((folder / FILE).read_text())))


def _artifact(found: dict[str, Any], environ: Mapping[str, str]) -> Artifact:
    where = f"the artifact {found['image']}"
    _refuse_others(found, {"image", "context", "docker", "sync"}, where)
    docker = found["docker"]
    _refuse_others(docker, {"dockerfile", "target", "buildArgs"}, f"docker of {where}")
    sync = found.get("sync", {})
    _refuse_others(sync, {"manual"}, f"sync of {where}")
    return Artifact(
        image=found["image"],
        context=found["context"],
        dockerfile=docker["dockerfile"],
        target=docker["target"],
        build_args={k: fill(v, environ) for k, v in docker.get("buildArgs", {}).items()},
        sync=tuple(SyncRule(**rule) for rule in sync.get("manual", ())),
    )


def _release(found: dict[str, Any]) -> Release:
    known = {"name", "chartPath", "valuesFiles", "setValues", "setValueTemplates", "wait"}
    _refuse_others(found, known, f"the release {found['name']}")
    return Release(
        name=found["name"],
        chart=found["chartPath"],
        values_files=tuple(found.get("valuesFiles", ())),
        set_values={key: _text(value) for key, value in found.get("setValues", {}).items()},
        templates=found.get("setValueTemplates", {}),
        wait=found.get("wait", False),
    )


def _port_forward(found: dict[str, Any]) -> PortForward:
    known = {"resourceType", "resourceName", "port", "localPort"}
    _refuse_others(found, known, f"the port forward of {found['resourceName']}")
    if found["resourceType"] != "service":
        raise NotUnderstood(f"ports of a {found['resourceType']} are not known here")
    return PortForward(
        service=found["resourceName"], port=found["port"], local_port=found["localPort"]
    )


def _verification(found: dict[str, Any]) -> Verification:
    where = f"the verification {found['name']}"
    _refuse_others(found, {"name", "container", "executionMode"}, where)
    _refuse_others(found["container"], {"name", "image"}, f"the container of {where}")
    return Verification(
        name=found["name"],
        container=found["container"]["name"],
        image=found["container"]["image"],
        job=found["executionMode"]["kubernetesCluster"]["jobManifestPath"],
    )


def _apply_patch(document: Any, *, op: str, path: str, value: Any = None) -> None:  # noqa: ANN401 - any YAML
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    target = document
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target[part]
    key = last if isinstance(target, dict) or last == "-" else int(last)
    operations: dict[str, Callable[[], object]] = {
        "add": lambda: _add(target, key, value),
        "replace": lambda: (target[key], target.__setitem__(key, value)),
        "remove": lambda: target.pop(key),
    }
    operations[op]()


def _add(target: Any, key: str | int, value: object) -> None:  # noqa: ANN401 - a map or a list
    if isinstance(target, dict):
        target[key] = value
    elif key == "-":
        target.append(value)
    else:
        target.insert(key, value)


def _refuse_others(found: Mapping[str, Any], known: set[str], where: str) -> None:
    others = sorted(set(found) - known)
    if others:
        raise NotUnderstood(f"{where} has {', '.join(others)}, which is not known here")


def _text(value: object) -> str:
    """Write a value as `--set` wants it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _variable(image: str) -> str:
    return re.sub(r"\W", "_", image)


def _glob(pattern: str) -> re.Pattern[str]:
    """Compile a pattern in which `*` stays within a folder and `**/` crosses any number."""
    parts = re.split(r"(\*\*/|\*)", pattern)
    meaning = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))
