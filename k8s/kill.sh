#!/bin/sh
# Kill the main process of pods by SIGKILL, as `kill -9` would, on any cluster:
#
#   k8s/kill.sh --namespace holdfast holdfast-store-0
#   k8s/kill.sh --namespace holdfast -l app.kubernetes.io/component=worker
#
# The arguments are those of `kubectl get pods`. Only the right to `kubectl exec` is needed, and no
# capability in the container. Inside it the main process is process 1, which the kernel protects from
# signals of its own namespace. But whoever runs as the same user may lower the CPU time that it may
# use, and what is above that limit is killed by the kernel itself. The kubelet sees exit code 137.
set -eu

[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# An idle process does not use CPU time: it is asked for its metrics until it is gone, and this
# program with it. PostgreSQL has none, but a process begins for whoever comes.
program='
import resource, time, urllib.request
resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    for port in (9090, 5432):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1).read()
        except OSError:
            pass
'
pods=$(kubectl get pods "$@" --no-headers --output custom-columns=:.metadata.namespace,:.metadata.name)
[ -n "$pods" ] || { echo "kill: there is no such pod" >&2; exit 1; }
echo "$pods" | while read -r namespace name; do
    code=0
    kubectl exec --namespace "$namespace" "$name" -- python -c "$program" </dev/null >/dev/null 2>&1 ||
        code=$?
    [ "$code" = 137 ] || { echo "$namespace/$name: not killed, exit code $code" >&2; exit 1; }
    echo "$namespace/$name: killed"
done
