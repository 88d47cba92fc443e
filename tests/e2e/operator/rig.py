"""An operator with the chart's own role on a real cluster, and a promise store beside it.

The operator runs as a process here, behind a proxy that can cut it off from the API server. The
promise store and its workers live in the test: what they report is the test's to choose.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import yaml

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.waiting import until
from tests.integration.rpc.support import Proxy, Served, serve

CRD: Final = ROOT / "charts" / "holdfast-crds" / "templates" / "workergroups.yaml"
ACCOUNT: Final = "operator"


@dataclass
class Rig:
    """A namespace and everything that acts in it."""

    cluster: Cluster
    namespace: str
    store: Served
    proxy: Proxy
    folder: Path

    # kubectl

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def apply(self, *documents: dict[str, Any]) -> str:
        return self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def replicas(self, name: str = "w") -> int:
        return int(self.get("deployment", name)["spec"].get("replicas", 1))

    def pods(self, name: str = "w") -> list[str]:
        """Names of the pods that are not ending."""
        items = self.get("pods", "--selector", f"app={name}")["items"]
        return [p["metadata"]["name"] for p in items if "deletionTimestamp" not in p["metadata"]]

    def status(self, name: str = "w") -> dict[str, Any]:
        found: dict[str, Any] = self.get("workergroup", name).get("status", {})
        return found

    def condition(self, kind: str, name: str = "w") -> dict[str, Any]:
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def ready_reason(self, name: str = "w") -> str | None:
        return self.condition("Ready", name).get("reason")

    async def until(self, probe: Callable[[], Any], what: str, *, seconds: float = 90) -> Any:
        """Wait for something in the cluster without holding up store and workers."""
        return await asyncio.to_thread(until, probe, what, seconds=seconds)

    # What is scaled

    def deployment(self, name: str = "w", *, replicas: int = 0) -> dict[str, Any]:
        """A Deployment whose pods do nothing, in one of our images."""
        security = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "idler",
            "image": self.cluster.image("holdfast-worker"),
            "command": ["python", "-c", "import signal; signal.pause()"],
            "securityContext": security,
        }
        pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        }

    def worker_group(
        self,
        name: str = "w",
        *,
        target: str = "w",
        spec: dict[str, Any] | None = None,
        **rules: Any,
    ) -> dict[str, Any]:
        """A WorkerGroup that reacts fast; `rules` are those of autoscaling."""
        quick = {"min": 0, "max": 4, "targetPerReplica": 2}
        waits = {"stabilizationSeconds": 2, "idleSeconds": 2}
        return {
            "apiVersion": "holdfast.dev/v1alpha1",
            "kind": "WorkerGroup",
            "metadata": {"name": name},
            "spec": {
                "groups": ["g"],
                "scaleTargetRef": {"name": target},
                "autoscaling": {**quick, **waits, **rules},
                **(spec or {}),
            },
        }

    # The operator

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[Path]:
        """Run the operator until the block ends; give the file that it logs to."""
        log = self.folder / f"operator-{uuid.uuid4().hex[:6]}.log"
        environ = {
            **os.environ,
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "HOLDFAST_OPERATOR_STORE_URL": self.store.url,
            "HOLDFAST_OPERATOR_METRICS_LISTEN": "127.0.0.1:0",
            "HOLDFAST_OPERATOR_STATUS_INTERVAL_MS": "500",
        }
        command = (sys.executable, "-m", "holdfast_operator", "serve")
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, env=environ, stdout=output, stderr=output
            )
            try:
                yield log
            finally:
                process.terminate()
                code = await process.wait()
        assert code == 0, log.read_text()

    async def probe(self, log: Path, path: str) -> httpx.Response:
        """Ask the operator's own endpoint."""
        started = next(line for line in logged(log) if line["event"] == "metrics_listening")
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://{started['address']}{path}")


def logged(log: Path) -> list[dict[str, Any]]:
    """Read the events that a process logged."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@contextlib.asynccontextmanager
async def rig(cluster: Cluster) -> AsyncIterator[Rig]:
    """Make a namespace, and in it the account that the chart gives to the operator."""
    namespace = f"e2e-operator-{uuid.uuid4().hex[:8]}"
    server = urlsplit(_server(cluster))
    with tempfile.TemporaryDirectory() as folder:
        async with serve() as store, Proxy(f"{server.hostname}:{server.port or 443}") as proxy:
            made = Rig(cluster, namespace, store, proxy, Path(folder))
            cluster.kubectl("create", "namespace", namespace)
            try:
                await asyncio.to_thread(_prepare, made)
                yield made
            finally:
                if not os.environ.get("E2E_KEEP"):
                    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _prepare(made: Rig) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    made.cluster.kubectl("label", "namespace", made.namespace, label)
    made.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    made.cluster.kubectl(
        "wait", "--for=condition=Established", "crd/workergroups.holdfast.dev", "--timeout=60s"
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
    role = {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io", "name": ACCOUNT}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": made.namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": role,
        "subjects": [subject],
    }
    made.apply(account, _role_of_the_chart(made.cluster), binding)
    token = made.kubectl("create", "token", ACCOUNT).strip()
    _write_kubeconfig(made, token)


def _role_of_the_chart(cluster: Cluster) -> dict[str, Any]:
    """The Role that users get, so that a permission that it lacks fails here."""
    chart = str(ROOT / "charts" / "holdfast")
    rendered = cluster.helm("template", "r", chart, "--show-only", "templates/operator/rbac.yaml")
    (role,) = [d for d in yaml.safe_load_all(rendered) if d and d["kind"] == "Role"]
    return {**role, "metadata": {"name": ACCOUNT}}


def _write_kubeconfig(made: Rig, token: str) -> None:
    """Point the operator at the proxy, under whose name the API server has no certificate."""
    address = made.proxy.url.removeprefix("grpc://")
    cluster = {"server": f"https://{address}", "insecure-skip-tls-verify": True}
    context = {"cluster": "k", "user": "u", "namespace": made.namespace}
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": context}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    (made.folder / "kubeconfig").write_text(yaml.safe_dump(document))


def _server(cluster: Cluster) -> str:
    path = "{.clusters[0].cluster.server}"
    return cluster.kubectl("config", "view", "--minify", "--output", f"jsonpath={path}").strip()
