"""A Holdfast that is installed in a namespace of its own, as Skaffold.yaml says."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.commands import attempt, run
from tests.e2e.waiting import until
from tools.skaffold import Release, Skaffold, read

RELEASE: Final = "holdfast"
DATABASE_POD: Final = "dev-postgresql-0"
CRD: Final = "workergroups.holdfast.dev"
OWNER: Final = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
WAIT: Final = "6m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What the tests want to know of a pod."""

    name: str
    uid: str
    component: str
    group: str
    container: str
    image: str
    image_id: str
    restarts: int
    is_ready: bool
    is_leaving: bool
    annotations: Mapping[str, str]

    @classmethod
    def parse(cls, found: dict[str, Any]) -> "Pod":
        """Read a pod as the API describes it."""
        metadata, status = found["metadata"], found["status"]
        labels = metadata.get("labels", {})
        container = found["spec"]["containers"][0]
        state: dict[str, Any] = next(
            (s for s in status.get("containerStatuses", ()) if s["name"] == container["name"]), {}
        )
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            component=labels.get("app.kubernetes.io/component", ""),
            group=labels.get("holdfast.dev/worker-group", ""),
            container=container["name"],
            image=container["image"],
            image_id=state.get("imageID", ""),
            restarts=state.get("restartCount", 0),
            is_ready=state.get("ready", False),
            is_leaving="deletionTimestamp" in metadata,
            annotations=metadata.get("annotations", {}),
        )


class Deployment:
    """The releases of Skaffold.yaml in one namespace."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        *,
        profiles: Sequence[str] = ("ci",),
        tag: str | None = None,
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.skaffold: Skaffold = read(ROOT, profiles=profiles, environ=os.environ)
        self.begun_at = 0.0
        self.images = {a.image: cluster.image(a.image, tag=tag) for a in self.skaffold.artifacts}

    def create_namespace(self) -> None:
        """Make the namespace; pods in it must fulfil the strictest profile."""
        labels = {
            f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")
        }
        metadata = {"name": self.namespace, "labels": labels}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.cluster.kubectl("create", "--filename", "-", stdin=json.dumps(namespace))

    def delete_namespace(self) -> None:
        """Remove the namespace with all that is in it."""
        self.cluster.kubectl(
            "delete", "namespace", self.namespace, "--ignore-not-found", timeout_s=300
        )

    def install(self) -> str:
        """Install every release; return what was done about the CRDs."""
        self.begun_at = time.monotonic()
        crds, *others = self.skaffold.releases
        said = self._install_crds(crds)
        for release in others:
            self._upgrade(release)
        return said

    def upgrade(self, *arguments: str) -> None:
        """Upgrade the main release; `arguments` follow those of Skaffold.yaml."""
        self._upgrade(self._main, *arguments)

    def rollback(self, revision: int) -> None:
        """Go back to an earlier revision of the main release."""
        arguments = ("rollback", RELEASE, str(revision), "--wait", "--timeout", WAIT)
        self.helm(*arguments)

    def revision(self) -> int:
        """The current revision of the main release."""
        revision: int = json.loads(self.helm("status", RELEASE, "--output", "json"))["version"]
        return revision

    def uninstall(self) -> None:
        """Uninstall every release, the last one first."""
        for release in reversed(self.skaffold.releases):
            self.helm("uninstall", release.name, "--ignore-not-found", "--wait", "--timeout", WAIT)

    def helm(self, *arguments: str) -> str:
        """Run helm in the namespace."""
        return self.cluster.helm("--namespace", self.namespace, *arguments)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 300) -> str:
        """Run kubectl in the namespace."""
        arguments = ("--namespace", self.namespace, *arguments)
        return self.cluster.kubectl(*arguments, stdin=stdin, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:
        """Run `kubectl get` in the namespace."""
        return self.cluster.get("--namespace", self.namespace, *arguments)

    def execute(self, pod: str, *command: str, timeout_s: float = 60) -> str:
        """Run a command in a pod."""
        return self.kubectl("exec", pod, "--", *command, timeout_s=timeout_s)

    def attempt_in(self, pod: str, *command: str, timeout_s: float = 60) -> tuple[int, str, str]:
        """Run a command in a pod that may fail."""
        line = self.cluster.kubectl_command("--namespace", self.namespace, "exec", pod, "--")
        return attempt(*line, *command, timeout_s=timeout_s)

    def pods(self, component: str = "", *, group: str = "") -> list[Pod]:
        """The pods of the main release, those that are leaving included."""
        labels = {"app.kubernetes.io/instance": RELEASE}
        if component:
            labels["app.kubernetes.io/component"] = component
        if group:
            labels["holdfast.dev/worker-group"] = group
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return [Pod.parse(p) for p in self.get("pods", "--selector", selector)["items"]]

    def ready_pod(self, component: str, *, group: str = "", seconds: float = 120) -> Pod:
        """Some ready pod of a component; waits for one."""
        return until(
            lambda: next(
                (p for p in self.pods(component, group=group) if p.is_ready and not p.is_leaving),
                None,
            ),
            f"a pod of {group or component} is ready",
            seconds=seconds,
        )

    def database_pod(self) -> Pod:
        """The pod of PostgreSQL, whatever state it is in; waits for one."""
        found = until(
            lambda: [p for p in self.get("pods")["items"] if p["metadata"]["name"] == DATABASE_POD],
            f"{DATABASE_POD} is there",
        )
        return Pod.parse(found[0])

    def worker_group(self, name: str) -> dict[str, Any]:
        """The WorkerGroup of a worker group of the chart."""
        found: dict[str, Any] = self.get("workergroups.holdfast.dev", f"{RELEASE}-{name}")
        return found

    def replicas(self, name: str) -> int:
        """How many pods the Deployment of a worker group is meant to have."""
        found: int = self.get("deployment", f"{RELEASE}-{name}")["spec"]["replicas"]
        return found

    @property
    def _main(self) -> Release:
        return next(r for r in self.skaffold.releases if r.name == RELEASE)

    def _upgrade(self, release: Release, *arguments: str) -> None:
        os_arguments = _from_root(release.helm_arguments(self.images), release)
        self.helm("upgrade", "--install", *os_arguments, *arguments, "--wait", "--timeout", WAIT)

    def _install_crds(self, release: Release) -> str:
        """Install the CRDs, which the whole cluster shares, without taking them from anybody."""
        if not self.cluster.exists("customresourcedefinition", CRD):
            self._upgrade(release)
            return "installed"
        found = self.cluster.get("customresourcedefinition", CRD)
        name, namespace = (found["metadata"].get("annotations", {}).get(key) for key in OWNER)
        if name and not self._has_release(name, namespace):
            # Uninstalling keeps them, and the next release adopts them.
            self._upgrade(release, "--take-ownership", *self._whatever_set_it())
            return "adopted from an earlier release"
        owner = f"the release {name} in {namespace}" if name else "somebody without Helm"
        assert self._would_be(release) == found["spec"], (
            f"{owner} installed another version of {CRD}; bring it up to date first"
        )
        return f"those of {owner}, which are the same"

    def _would_be(self, release: Release) -> Any:
        """Tell what the server would make of the chart's CRD; it leaves out and adds fields."""
        chart = run(self.cluster.helm_program, "template", str(ROOT / release.chart))
        apply = ("apply", "--server-side", "--force-conflicts", "--dry-run=server")
        applied = self.cluster.kubectl(*apply, "--output=json", "--filename=-", stdin=chart)
        return json.loads(applied)["spec"]

    def _whatever_set_it(self) -> list[str]:
        """Helm 4 applies on the server, where fields that Helm 3 wrote belong to somebody else."""
        version = run(self.cluster.helm_program, "version", "--template", "{{.Version}}")
        return [] if version.startswith("v3.") else ["--force-conflicts"]

    def _has_release(self, name: str, namespace: str) -> bool:
        line = ("status", name, "--namespace", namespace)
        kubeconfig = ("--kubeconfig", str(self.cluster.kubeconfig))
        return attempt(self.cluster.helm_program, *kubeconfig, *line)[0] == 0


def _from_root(arguments: Iterable[str], release: Release) -> list[str]:
    """Paths of Skaffold.yaml count from its folder, not from where the tests run."""
    paths = {release.chart, *release.values_files}
    return [str(ROOT / a) if a in paths else a for a in arguments]
