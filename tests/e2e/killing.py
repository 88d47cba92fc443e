"""Killing processes and pods of a cluster, without more rights than `kubectl exec` needs.

A process of a container is process 1 of its own namespace: the kernel ignores SIGKILL that comes
from inside, and `kubectl delete pod --force` sends SIGTERM first and leaves two seconds. What does
work everywhere, in a container without any capability, is the limit of CPU time: whoever may signal
a process may also lower that limit, and the kernel itself sends SIGKILL to a process that is above
it. The kubelet then sees exit code 137, as after a real `kill -9`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.e2e.commands import CommandFailed
from tests.e2e.deployment import Deployment, Pod
from tests.e2e.waiting import until

SIGKILLED: Final = 137
KILL_S_MAX: Final = 30

# The limit is looked at while the process computes, so that an idle one has to be asked something:
# ours for its metrics, and PostgreSQL, which hangs up, just for a new process of its own.
# The loop ends because the kernel ends everything in a container whose process 1 is gone.
KILL: Final = f"""
import resource, time, urllib.request
print(time.time_ns() // 1_000_000, flush=True)
resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))
deadline = time.monotonic() + {KILL_S_MAX}
while time.monotonic() < deadline:
    for port in (9090, 5432):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{{port}}/metrics", timeout=1).read()
        except OSError:
            pass
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Something was killed; `from_ms` to `to_ms` is the span in which it happened."""

    what: str
    pod: str
    uid: str
    how: str
    from_ms: int
    to_ms: int


def kill_some(
    deployment: Deployment,
    kill: Callable[[Deployment, Pod], Kill],
    component: str,
    *,
    group: str = "",
) -> Kill:
    """Kill a ready pod of a component; another one if that was being scaled down already."""
    while True:
        pod = deployment.ready_pod(component, group=group)
        try:
            return kill(deployment, pod)
        except CommandFailed:
            if any(p.uid == pod.uid and not p.is_leaving for p in deployment.pods(component)):
                raise


def kill_process(deployment: Deployment, pod: Pod) -> Kill:
    """Let the kernel kill process 1 of a pod by SIGKILL; the kubelet starts it again in place."""
    from_ms = _kill(deployment, pod)
    code = until(
        lambda: _exit_code(deployment, pod), f"the process of {pod.name} was killed", seconds=60
    )
    assert code == SIGKILLED
    return _killed(pod, how="SIGKILL", from_ms=from_ms)


def kill_pod(deployment: Deployment, pod: Pod) -> Kill:
    """Kill process 1 of a pod and remove the pod at once, as when its node is gone."""
    from_ms = _kill(deployment, pod)
    deployment.kubectl("delete", "pod", pod.name, "--grace-period=0", "--force", "--wait=false")
    until(
        lambda: pod.uid not in {p.uid for p in deployment.pods(pod.component)},
        f"{pod.name} is gone",
    )
    return _killed(pod, how="SIGKILL and pod deleted", from_ms=from_ms)


def _kill(deployment: Deployment, pod: Pod) -> int:
    code, output, errors = deployment.attempt_in(
        pod.name, "python", "-c", KILL, timeout_s=KILL_S_MAX + 30
    )
    if code != SIGKILLED or not output.strip():
        raise CommandFailed(f"{pod.name} was not killed: exit code {code}, {output}{errors}")
    return int(output.split()[0])


def _exit_code(deployment: Deployment, pod: Pod) -> int | None:
    """How the process ended, once its container is started again, or its pod scaled down."""
    found = {p["metadata"]["uid"]: p for p in deployment.get("pods")["items"]}.get(pod.uid)
    if found is None or "deletionTimestamp" in found["metadata"]:
        return SIGKILLED  # as `kubectl exec` has seen
    status = next(s for s in found["status"]["containerStatuses"] if s["name"] == pod.container)
    if status["restartCount"] <= pod.restarts:
        return None
    code: int = status["lastState"]["terminated"]["exitCode"]
    return code


def _killed(pod: Pod, *, how: str, from_ms: int) -> Kill:
    return Kill(
        what=pod.group or pod.component,
        pod=pod.name,
        uid=pod.uid,
        how=how,
        from_ms=from_ms,
        to_ms=time.time_ns() // 1_000_000,
    )
