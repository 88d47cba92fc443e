"""Build the images of Skaffold.yaml and bring them to a cluster, without Skaffold.

Whatever builds images here is used: docker, podman or buildah. How the images reach the nodes
follows from the name of the kube context, as in Skaffold: local clusters are loaded, others pull
from a registry.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.skaffold import Artifact, Skaffold

BUILDERS: Final = ("docker", "podman", "buildah")
SHARED: Final = ("docker-desktop", "rancher-desktop", "orbstack")
"""Contexts of clusters that see the images of the local Docker daemon."""


class CannotBuild(Exception):
    """No images can be made or delivered here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A program that builds images."""

    program: str

    @classmethod
    def find(cls) -> "Builder":
        """Find one that answers, as docker without its daemon does not; raises CannotBuild."""
        for program in BUILDERS:
            if shutil.which(program) and _answers(program):
                return cls(program)
        raise CannotBuild(
            "docker (with a running daemon), podman or buildah is needed to build images,"
            " and none answers"
        )

    def name_of(self, artifact: Artifact, *, registry: str, tag: str) -> str:
        """Give the full name of an image, as pods have to say it."""
        return f"{registry}/{artifact.image}:{tag}" if registry else f"{artifact.image}:{tag}"

    def build(self, artifact: Artifact, *, name: str, folder: Path) -> None:
        """Build an image."""
        cached = ["--layers"] if self.program == "buildah" else []  # the others do it anyway
        _run(
            self.program,
            "build",
            *cached,
            "--tag",
            self._local(name),
            *artifact.build_arguments(),
            folder=folder,
        )

    def push(self, name: str) -> None:
        """Push an image to the registry of its name."""
        _run(self.program, "push", name)

    def save(self, name: str, file: Path) -> None:
        """Write an image to an archive that carries its name."""
        if self.program == "buildah":
            _run("buildah", "push", self._local(name), f"docker-archive:{file}:{name}")
        else:
            _run(self.program, "save", "--output", str(file), self._local(name))

    def _local(self, name: str) -> str:
        """Give the name under which the program knows an image.

        To Kubernetes a name without a registry is one of docker.io/library; to podman and buildah
        it is one of localhost/, and an archive would carry that.
        """
        first, slash, _ = name.partition("/")
        has_registry = bool(slash) and ("." in first or ":" in first)
        if self.program == "docker" or has_registry:
            return name
        return f"docker.io/library/{name}"


def build_all(
    skaffold: Skaffold, builder: Builder, *, registry: str, tag: str, folder: Path
) -> Mapping[str, str]:
    """Build every artifact; return their full names by artifact."""
    names = {}
    for artifact in skaffold.artifacts:
        name = builder.name_of(artifact, registry=registry, tag=tag)
        builder.build(artifact, name=name, folder=folder)
        names[artifact.image] = name
    return names


def deliver(names: Mapping[str, str], builder: Builder, *, context: str, registry: str) -> None:
    """Bring images to the cluster of a context; raises CannotBuild when there is no way."""
    if registry:
        for name in names.values():
            builder.push(name)
    elif context not in SHARED:
        for name in names.values():
            _load(name, builder, context=context)
    elif builder.program != "docker":
        raise CannotBuild(f"{context} sees images of docker only, and {builder.program} is here")


def _load(name: str, builder: Builder, *, context: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        command = loader(context, archive)
        builder.save(name, archive)
        # kind must look for its nodes where the images come from.
        _run(*command, environ={"KIND_EXPERIMENTAL_PROVIDER": builder.program})


def loader(context: str, archive: Path) -> list[str]:
    """Return the command that loads an archive into the local cluster of a context."""
    if context.startswith("kind-"):
        cluster = context.removeprefix("kind-")
        return ["kind", "load", "image-archive", str(archive), "--name", cluster]
    if context.startswith("k3d-"):
        return ["k3d", "image", "import", str(archive), "--cluster", context.removeprefix("k3d-")]
    if context == "minikube":
        return ["minikube", "image", "load", str(archive)]
    raise CannotBuild(
        f"{context} is not known as a local cluster; name a registry that it pulls from:"
        " make dev-cluster REGISTRY=registry.example.com/team"
    )


def _answers(program: str) -> bool:
    return subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0


def _run(
    *command: str, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, **(environ or {})})
    except FileNotFoundError as error:
        raise CannotBuild(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise CannotBuild(f"{' '.join(command[:3])} … ended with {error.returncode}") from error
