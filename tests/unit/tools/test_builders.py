"""How images get names, and how they reach a cluster."""

from pathlib import Path

import pytest

from tools.builders import Builder, CannotBuild, loader
from tools.skaffold import Artifact

ARTIFACT = Artifact(
    image="holdfast-store",
    context=".",
    dockerfile="Dockerfile",
    target="store",
    build_args={"DEV": "1"},
    sync=(),
)
ARCHIVE = Path("/tmp/image.tar")


def test_a_registry_comes_before_the_name() -> None:
    builder = Builder("docker")

    assert builder.name_of(ARTIFACT, registry="", tag="t") == "holdfast-store:t"
    name = builder.name_of(ARTIFACT, registry="localhost:5001/team", tag="t")
    assert name == "localhost:5001/team/holdfast-store:t"


@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_names_without_a_registry_are_those_that_kubernetes_reads(program: str) -> None:
    local = Builder(program)._local

    assert local("holdfast-store:t") == "docker.io/library/holdfast-store:t"
    assert local("localhost:5001/holdfast-store:t") == "localhost:5001/holdfast-store:t"
    assert local("ghcr.io/team/holdfast-store:t") == "ghcr.io/team/holdfast-store:t"
    assert Builder("docker")._local("holdfast-store:t") == "holdfast-store:t"


def test_an_artifact_says_what_docker_needs() -> None:
    assert ARTIFACT.build_arguments() == [
        *("--file", "Dockerfile", "--target", "store", "--build-arg", "DEV=1", "."),
    ]


def test_local_clusters_are_loaded_by_their_own_tools() -> None:
    assert loader("kind-holdfast", ARCHIVE) == [
        *("kind", "load", "image-archive", "/tmp/image.tar", "--name", "holdfast"),
    ]
    assert loader("k3d-team", ARCHIVE)[-2:] == ["--cluster", "team"]
    assert loader("minikube", ARCHIVE) == ["minikube", "image", "load", "/tmp/image.tar"]


def test_any_other_cluster_needs_a_registry() -> None:
    with pytest.raises(CannotBuild, match="make dev-cluster REGISTRY="):
        loader("arn:aws:eks:eu:1:cluster/prod", ARCHIVE)
