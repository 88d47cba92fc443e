"""`make dev-cluster`: what `skaffold dev` does, without Skaffold.

Builds the images of Skaffold.yaml, brings them to the cluster of the current kube context, installs
the charts as the profile `dev` says, forwards the gateway's ports, and copies every Python file
that changes into the running pods, whose processes then start again. Ctrl-C uninstalls everything;
data stays in its claims. Files that are no Python, and new dependencies, need a new start.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.builders import Builder, CannotBuild, build_all, deliver
from tools.skaffold import Skaffold, read

ROOT: Final = Path(__file__).resolve().parent.parent
PROFILE: Final = "dev"
LOOK_S: Final = 0.5
INSTANCE: Final = "app.kubernetes.io/instance=holdfast"
SOURCES: Final = ("sdk", "services")


class CommandFailed(Exception):
    """kubectl or helm ended with an error, which it has printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """kubectl and helm, aimed at one namespace."""

    namespace: str
    helm_program: str = "helm"
    kubeconfig: str = ""

    def kubectl(self, *arguments: str) -> list[str]:
        """Return a command line of kubectl."""
        return ["kubectl", *self._aim(), *arguments]

    def helm(self, *arguments: str) -> list[str]:
        """Return a command line of helm."""
        return [self.helm_program, *self._aim(), *arguments]

    def _aim(self) -> list[str]:
        kubeconfig = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return [*kubeconfig, *(["--namespace", self.namespace] if self.namespace else [])]


def main() -> int:
    """Run until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="make dev-cluster", description=__doc__)
    parser.add_argument("--registry", default="", help="where images are pushed, and pulled from")
    parser.add_argument("--namespace", default="", help="default: that of the kube context")
    parser.add_argument("--keep", action="store_true", help="do not uninstall at the end")
    options = parser.parse_args()
    tools = Tools(namespace=options.namespace, helm_program=os.environ.get("HELM") or "helm")
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell ignores Ctrl-C for us
        signal.signal(number, signal.default_int_handler)
    try:
        develop(tools, registry=options.registry.rstrip("/"), keep=options.keep)
    except KeyboardInterrupt:
        return 0
    except (CannotBuild, CommandFailed) as error:
        print(f"dev-cluster: {error}", file=sys.stderr)
        return 1
    return 0


def develop(tools: Tools, *, registry: str, keep: bool) -> None:
    """Build, install, forward and copy until somebody interrupts."""
    skaffold = read(ROOT, profiles=[PROFILE], environ=os.environ)
    context = output_of(["kubectl", "config", "current-context"]).strip()
    say(f"cluster {context}, namespace {tools.namespace or 'of the context'}")
    builder = Builder.find()
    tag = time.strftime("dev-%Y%m%d-%H%M%S")
    images = build_all(skaffold, builder, registry=registry, tag=tag, folder=ROOT)
    deliver(images, builder, context=context, registry=registry)
    with ExitStack() as stack:
        if not keep:
            stack.callback(uninstall, tools, skaffold)
        install(tools, skaffold, images)
        for line in stack.enter_context(forwarded(tools, skaffold)):
            say(line)
        say("Python files that change are copied into the pods; Ctrl-C ends")
        for changed in changes(SOURCES):
            for said in copy_into_pods(tools, skaffold, images, changed):
                say(said)


def install(tools: Tools, skaffold: Skaffold, images: Mapping[str, str]) -> None:
    """Install every release, one after the other."""
    for release in skaffold.releases:
        arguments = [*release.helm_arguments(images), "--timeout", "6m"]
        if release.wait:  # that of the CRDs
            arguments += adoption(tools)
        else:
            arguments.append("--wait")
        run(tools.helm("upgrade", "--install", *arguments))


def adoption(tools: Tools) -> list[str]:
    """Return the flags by which a release takes over CRDs that are there already.

    Uninstalling keeps them, because they belong to the whole cluster. So they carry the name of a
    release that is gone, or of that of a colleague in another namespace.
    """
    version = output_of([tools.helm_program, "version", "--template", "{{.Version}}"])
    # Helm 4 applies on the server, where fields may belong to Helm 3 or to kubectl.
    force = [] if version.startswith("v3.") else ["--force-conflicts"]
    return ["--take-ownership", *force]


def uninstall(tools: Tools, skaffold: Skaffold) -> None:
    """Uninstall every release, the last one first."""
    for release in reversed(skaffold.releases):
        run(tools.helm("uninstall", release.name, "--ignore-not-found", "--wait"))


@contextmanager
def forwarded(tools: Tools, skaffold: Skaffold) -> Iterator[list[str]]:
    """Forward the ports that Skaffold.yaml names, again and again; yield what to print of it."""
    stopping = threading.Event()
    lines, threads = [], []
    for port in skaffold.port_forwards:
        ports = f"{port.local_port}:{port.port}"
        command = tools.kubectl("port-forward", f"service/{port.service}", ports)
        thread = threading.Thread(target=_keep_forwarding, args=(command, stopping), daemon=True)
        thread.start()
        threads.append(thread)
        lines.append(f"http://127.0.0.1:{port.local_port} is {port.service}:{port.port}")
    try:
        yield lines
    finally:
        stopping.set()
        for thread in threads:
            thread.join(timeout=10)


def _keep_forwarding(command: Sequence[str], stopping: threading.Event) -> None:
    """Run `kubectl port-forward`, which ends whenever its pod does."""
    while not stopping.is_set():
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not stopping.wait(LOOK_S):
            pass
        process.terminate()
        process.wait()
        stopping.wait(LOOK_S)


def changes(folders: Iterable[str]) -> Iterator[set[str]]:
    """Yield the Python files that changed, appeared or went, whenever some did; never ends."""
    before = _modified(folders)
    while True:
        time.sleep(LOOK_S)
        now = _modified(folders)
        changed = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
        before = now
        if changed:
            yield changed


def _modified(folders: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            try:
                found[str(path.relative_to(ROOT))] = path.stat().st_mtime_ns
            except FileNotFoundError:  # editors write a new file and rename it
                continue
    return found


def copy_into_pods(
    tools: Tools,
    skaffold: Skaffold,
    images: Mapping[str, str],
    paths: Iterable[str],
    *,
    folder: Path = ROOT,
) -> list[str]:
    """Copy changed files to where the sync rules want them; return what was done, for people."""
    said = []
    changed = sorted(paths)
    containers = _containers(tools)
    for artifact in skaffold.artifacts:
        wanted = {path: artifact.destination(path) for path in changed}
        destinations = {path: place for path, place in wanted.items() if place is not None}
        for pod, container in containers.get(images[artifact.image], []):
            if destinations:
                _copy(tools, pod, container, destinations, folder)
                said.append(f"{', '.join(destinations)} -> {pod}")
    return said


def _containers(tools: Tools) -> dict[str, list[tuple[str, str]]]:
    """Find pods and containers that run, by image."""
    found: dict[str, list[tuple[str, str]]] = {}
    listing = json.loads(output_of(tools.kubectl("get", "pods", "-l", INSTANCE, "-o", "json")))
    for pod in listing["items"]:
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]:
            for container in pod["spec"]["containers"]:
                place = (pod["metadata"]["name"], container["name"])
                found.setdefault(container["image"], []).append(place)
    return found


def _copy(
    tools: Tools, pod: str, container: str, destinations: Mapping[str, str], folder: Path
) -> None:
    """Send an archive through `tar` in the container, as `kubectl cp` and Skaffold do."""
    archive = io.BytesIO()
    gone = []
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, destination in destinations.items():
            if (folder / path).exists():
                tar.add(folder / path, arcname=destination.lstrip("/"))
            else:
                gone.append(destination)
    inside = tools.kubectl("exec", "--stdin", pod, "--container", container, "--")
    run([*inside, "tar", "xmf", "-", "-C", "/", "--no-same-owner"], stdin=archive.getvalue())
    if gone:
        run([*inside, "rm", "-f", "--", *gone])


def run(command: Sequence[str], *, stdin: bytes | None = None) -> None:
    """Run a command whose output people see; raises CommandFailed."""
    done = subprocess.run(command, input=stdin, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command[:6])} … ended with {done.returncode}")


def output_of(command: Sequence[str]) -> str:
    """Run a command; return what it wrote."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommandFailed(f"{command[0]} is not installed") from error
    if done.returncode:
        raise CommandFailed(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout


def say(line: Any) -> None:  # noqa: ANN401 - anything that prints
    """Print at once."""
    print(f"dev-cluster: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
