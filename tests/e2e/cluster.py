"""Which cluster the tests run on, and how to talk to it.

The first that is there is taken: the one of `E2E_KUBECONFIG`, or one that `kind` makes with Docker
or podman. A cluster that was asked for and does not answer is an error, never a reason to skip.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.commands import CommandFailed, attempt, run, succeeds
from tests.e2e.waiting import until
from tools.builders import Builder, build_all, deliver
from tools.skaffold import read

ROOT: Final = Path(__file__).parents[2]
AWAY: Final = ("connection refused", "connection reset", "ServerTimeout", "TLS handshake timeout")
"""What kubectl says when it is the API server's turn to be restarted."""

KIND_CLUSTER: Final = "holdfast-e2e"
KIND_CONFIG: Final = ROOT / "k8s" / "kind.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster, and where its nodes find our images."""

    kubeconfig: Path
    description: str
    registry: str
    tag: str
    helm_program: str

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 300) -> str:
        """Run kubectl; return its output."""
        return run(*self.kubectl_command(*arguments), stdin=stdin, timeout_s=timeout_s)

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line of kubectl for this cluster."""
        return ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]

    def helm(self, *arguments: str, timeout_s: float = 600) -> str:
        """Run helm; return its output."""
        command = (self.helm_program, "--kubeconfig", str(self.kubeconfig), *arguments)
        return run(*command, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:
        """Run `kubectl get` with JSON as its output; again while the API server is away."""

        def ask() -> str | None:
            code, output, errors = attempt(*command, timeout_s=60)
            if code and not any(sign in errors for sign in AWAY):
                raise CommandFailed(f"kubectl get {' '.join(arguments)}: {errors}")
            return None if code else output

        command = self.kubectl_command("get", *arguments, "--output", "json")
        return json.loads(until(ask, "the API server answers", seconds=60))

    def image(self, artifact: str, *, tag: str | None = None) -> str:
        """The full name of one of our images."""
        name = f"{artifact}:{tag or self.tag}"
        return f"{self.registry}/{name}" if self.registry else name

    def exists(self, *arguments: str) -> bool:
        """Tell whether `kubectl get` finds an object; any other error is one."""
        command = self.kubectl_command("get", *arguments, "--ignore-not-found", "--output", "name")
        return bool(run(*command).strip())


class NoCluster(Exception):
    """There is no cluster here, and none was asked for."""


@contextmanager
def choose(environ: Mapping[str, str] = os.environ) -> Iterator[Cluster]:
    """Give the cluster to use; raises NoCluster, or CommandFailed when one was asked for."""
    if environ.get("E2E_KUBECONFIG"):
        yield _given(Path(environ["E2E_KUBECONFIG"]), environ)
        return
    engine = next((e for e in ("docker", "podman") if succeeds((e, "info"))), None)
    if engine is None or not succeeds(("kind", "version")):
        raise NoCluster(
            "set E2E_KUBECONFIG, or install kind with a running Docker or podman"
            " (docs/howto/kubernetes.md)"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield _made_by_kind(engine, Path(folder) / "kubeconfig", environ)
        finally:
            if not environ.get("E2E_KEEP"):
                run("kind", "delete", "cluster", "--name", KIND_CLUSTER, environ=_provider(engine))


def _given(kubeconfig: Path, environ: Mapping[str, str]) -> Cluster:
    cluster = Cluster(
        kubeconfig=kubeconfig,
        description=f"the cluster of E2E_KUBECONFIG={kubeconfig}",
        registry=environ.get("E2E_IMAGE_REGISTRY", "").rstrip("/"),
        tag=environ.get("E2E_IMAGE_TAG") or "ci",
        helm_program=environ.get("E2E_HELM") or "helm",
    )
    code, _, errors = attempt(*cluster.kubectl_command("version"), timeout_s=60)
    if code:
        raise CommandFailed(f"{cluster.description} does not answer: {errors.strip()}")
    return cluster


def _made_by_kind(engine: str, kubeconfig: Path, environ: Mapping[str, str]) -> Cluster:
    """Make the cluster unless it is there, build our images, and load them."""
    provider = _provider(engine)
    names = run("kind", "get", "clusters", environ=provider).split()
    if KIND_CLUSTER not in names:
        create = ("kind", "create", "cluster", "--name", KIND_CLUSTER, "--wait", "5m")
        files = ("--config", str(KIND_CONFIG), "--kubeconfig", str(kubeconfig))
        run(*create, *files, timeout_s=900, environ=provider)
    else:
        file = ("--kubeconfig", str(kubeconfig))
        run("kind", "export", "kubeconfig", "--name", KIND_CLUSTER, *file, environ=provider)
    tag = environ.get("E2E_IMAGE_TAG") or "ci"
    for profiles, suffix in ((["ci", "postgresql"], ""), (["dev"], "-dev")):
        skaffold = read(ROOT, profiles=profiles, environ=environ)
        images = build_all(skaffold, Builder(engine), registry="", tag=tag + suffix, folder=ROOT)
        deliver(images, Builder(engine), context=f"kind-{KIND_CLUSTER}", registry="")
    return Cluster(
        kubeconfig=kubeconfig,
        description=f"the cluster {KIND_CLUSTER} that kind made with {engine}",
        registry="",
        tag=tag,
        helm_program=environ.get("E2E_HELM") or "helm",
    )


def _provider(engine: str) -> Mapping[str, str]:
    return {"KIND_EXPERIMENTAL_PROVIDER": engine}
