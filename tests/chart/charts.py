"""Runs helm on the charts of this repository, and reads what it renders."""

import functools
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "holdfast"
CRDS = ROOT / "charts" / "holdfast-crds"

RELEASE = "rel"
NAMESPACE = "somewhere"
PREFIXES = ("rel-holdfast-", "hf-")  # of the release, and of the case that sets fullnameOverride

CASES = tuple(
    sorted(path.name.removesuffix("-values.yaml") for path in CHART.glob("ci/*-values.yaml"))
)

Object = dict[str, Any]


class HelmFailed(Exception):
    """Helm refused; the message is what it printed."""


class HelmMissing(Exception):
    """There is no helm to test with, which is a failure and not a reason to skip."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One version of helm."""

    program: str

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run helm; return what it printed, raise HelmFailed with what it complained about."""
        if shutil.which(self.program) is None:
            raise HelmMissing(f"{self.program} is not on PATH; these tests render charts with it")
        done = subprocess.run(
            [self.program, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise HelmFailed(done.stdout + done.stderr)
        return done.stdout

    def render(self, case: str = "default", values: Mapping[str, Any] | None = None) -> "Manifests":
        """Render the chart with the values of a case, and more of them on top."""
        return _render(self.program, case, json.dumps(values or {}))


def helms() -> tuple[Helm, ...]:
    """Return `helm`, be it there or not, and `helm3` where that is there as well."""
    return (Helm("helm"), *([Helm("helm3")] if shutil.which("helm3") else []))


@functools.cache
def _render(program: str, case: str, values: str) -> "Manifests":
    case_file = CHART / "ci" / f"{case}-values.yaml"
    arguments = ["template", RELEASE, str(CHART), "--namespace", NAMESPACE]
    text = Helm(program).run(*arguments, "-f", str(case_file), "-f", "-", stdin=values)
    return Manifests(tuple(each for each in yaml.safe_load_all(text) if each))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the chart describes it, wherever it does so."""

    owner: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """All containers, those that only begin included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def main(self) -> Object:
        """The container that serves."""
        (main,) = self.spec["containers"]
        container: Object = main
        return container


@dataclass(frozen=True, slots=True)
class Manifests:
    """All objects of a rendered chart, hooks and tests included."""

    objects: tuple[Object, ...]

    def of(self, kind: str) -> dict[str, Object]:
        """Return the objects of a kind by name, without the release's prefix."""
        return {short(each): each for each in self.objects if each["kind"] == kind}

    def get(self, kind: str, name: str) -> Object:
        """Return one object."""
        return self.of(kind)[name]

    def pods(self) -> Iterator[Pod]:
        """Return every pod that some object describes."""
        for each in self.objects:
            owner = f"{each['kind']}/{short(each)}"
            match each["kind"]:
                case "Deployment" | "StatefulSet" | "Job":
                    yield _pod(owner, each["spec"]["template"])
                case "Pod":
                    yield _pod(owner, each)

    def pod(self, owner: str) -> Pod:
        """Return the pod of `Deployment/gateway` and the like."""
        (found,) = [pod for pod in self.pods() if pod.owner == owner]
        return found


def short(manifest: Object) -> str:
    """Return a name without the release's prefix."""
    name: str = manifest["metadata"]["name"]
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def env_of(container: Object) -> dict[str, Any]:
    """Return the environment of a container by name; a reference is returned as it is."""
    return {
        each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])
    }


def _pod(owner: str, template: Object) -> Pod:
    metadata = template["metadata"]
    return Pod(
        owner=owner,
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        spec=template["spec"],
    )
