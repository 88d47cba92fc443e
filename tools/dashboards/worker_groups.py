"""Worker groups: the work of each against the processes that do it, and why they are so many."""

from typing import Final

from tools.dashboards.grafana import ORANGE, RED, Dashboard, Panel, Query, Row, Variable
from tools.dashboards.shared import NAMESPACE, RATE, quantile, selector, sum_rate

GROUP: Final = 'group=~"$group"'
SCALED: Final = 'worker_group=~"$worker_group"'

SCALING: Final = Row(
    title="Depth against replicas",
    panels=(
        Panel(
            title="$worker_group",
            description="Tasks that the operator saw, due and running, and on the right the "
            "replicas that it wants and that there are. Wanted is what the work asks for, within "
            "minimum and maximum; it falls only after the stabilization time.",
            unit="short",
            width=12,
            height=9,
            repeat="worker_group",
            queries=(
                Query(expr=f"max(holdfast_operator_queue_due{selector(SCALED)})", legend="due"),
                Query(
                    expr=f"max(holdfast_operator_queue_running{selector(SCALED)})",
                    legend="running",
                ),
                Query(
                    expr=f"max(holdfast_operator_desired_replicas{selector(SCALED)})",
                    legend="replicas wanted",
                    is_right=True,
                ),
                Query(
                    expr=f"max(holdfast_operator_replicas{selector(SCALED)})",
                    legend="replicas",
                    is_right=True,
                ),
            ),
        ),
    ),
)

DECISIONS: Final = Row(
    title="Scaling decisions",
    panels=(
        Panel(
            title="Scalings",
            description="How often the operator changed the number of replicas, by direction. "
            "Up and down in turns is a stabilization time that is too short.",
            unit="short",
            is_bars=True,
            queries=(
                Query(
                    expr="sum by (worker_group, direction) "
                    f"(increase(holdfast_operator_scalings_total{selector(SCALED)}[{RATE}]))",
                    legend="{{worker_group}} {{direction}}",
                ),
            ),
        ),
        Panel(
            title="Looks at worker groups",
            description="Looks of the operator at a worker group, by how they ended. held: "
            "something keeps it from scaling; conflict: somebody else wrote at the same moment; "
            "failed: the Kubernetes API refused.",
            unit="ops",
            is_stacked=True,
            queries=(
                Query(
                    expr=sum_rate("holdfast_operator_reconciles_total", by="outcome"),
                    legend="{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Time of a look",
            description="Time of one look at one worker group, writes included.",
            unit="s",
            queries=(
                Query(expr=quantile("0.5", "holdfast_operator_reconcile_seconds"), legend="p50"),
                Query(expr=quantile("0.99", "holdfast_operator_reconcile_seconds"), legend="p99"),
            ),
        ),
        Panel(
            title="Operator reaches the store",
            description="1 while it does. At 0 the operator keeps the replicas as they are.",
            unit="short",
            width=12,
            height=5,
            queries=(
                Query(
                    expr=f"min(holdfast_operator_store_reachable{selector()})",
                    legend="reachable",
                ),
            ),
        ),
        Panel(
            title="Watches that broke",
            description="Watches of the Kubernetes API that ended by an error and were begun "
            "again; what they missed is found by the next full listing.",
            unit="ops",
            width=12,
            height=5,
            queries=(
                Query(expr=sum_rate("holdfast_operator_watch_failures_total"), legend="broken"),
            ),
        ),
    ),
)

QUEUES: Final = Row(
    title="Queues",
    panels=(
        Panel(
            title="Due",
            description="Tasks that could run now and wait for a process.",
            unit="short",
            queries=(
                Query(
                    expr=f"max by (group) (holdfast_store_queue_depth{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Oldest due task",
            description="How long the oldest of the due tasks has waited.",
            unit="s",
            queries=(
                Query(
                    expr="max by (group) "
                    f"(holdfast_store_queue_oldest_due_age_seconds{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Running",
            description="Tasks that some process holds a lease of.",
            unit="short",
            queries=(
                Query(
                    expr=f"max by (group) (holdfast_store_queue_running{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Suspended",
            description="Tasks that wait for promises: timers, approvals, other tasks. They cost "
            "no process anything.",
            unit="short",
            queries=(
                Query(
                    expr=f"max by (group) (holdfast_store_queue_suspended{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Halted",
            description="Tasks that wait for a person: their code broke its own rules, or no "
            "process has their function.",
            unit="short",
            queries=(
                Query(
                    expr=f"max by (group) (holdfast_store_queue_halted{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Connected processes",
            description="Processes of the group that take tasks, and on the right how many tasks "
            "they could still take.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (group) (holdfast_store_queue_members{selector(GROUP)})",
                    legend="{{group}}",
                ),
                Query(
                    expr=f"sum by (group) (holdfast_store_queue_free_credits{selector(GROUP)})",
                    legend="{{group}}: free",
                    is_right=True,
                ),
            ),
        ),
    ),
)

WORKERS: Final = Row(
    title="Workers",
    panels=(
        Panel(
            title="Slots in use",
            description="Part of the tasks that the processes may run at the same time which they "
            "do run. At 100 % more replicas help; far below, they do not.",
            unit="percentunit",
            queries=(
                Query(
                    expr=f"sum by (group) (holdfast_worker_tasks_running{selector(GROUP)})"
                    f" / sum by (group) (holdfast_worker_slots{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Tasks by how they left their process",
            description="resolved and rejected: the function returned or raised. suspended: it "
            "waits and comes back. released: given back by a stop. unknown_function, lost, "
            "abandoned and halted are faults.",
            unit="ops",
            is_stacked=True,
            queries=(
                Query(
                    expr=sum_rate("holdfast_worker_tasks_total", where=GROUP, by="group, outcome"),
                    legend="{{group}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Processes without a store",
            description="Processes whose stream to the store is broken. They go on with what they "
            "have and try to come back.",
            unit="short",
            queries=(
                Query(
                    expr=f"count by (group) (holdfast_worker_store_connected{selector(GROUP)})"
                    f" - sum by (group) (holdfast_worker_store_connected{selector(GROUP)})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Steps",
            description="Attempts at steps that ended, by function.",
            unit="ops",
            is_stacked=True,
            queries=(
                Query(
                    expr=sum_rate("holdfast_worker_steps_total", where=GROUP, by="func"),
                    legend="{{func}}",
                ),
            ),
        ),
        Panel(
            title="Time of a step (p95)",
            description="95 of 100 attempts at a step took at most this long, by function.",
            unit="s",
            queries=(
                Query(
                    expr=quantile("0.95", "holdfast_worker_step_seconds", where=GROUP, by="func"),
                    legend="{{func}}",
                ),
            ),
        ),
        Panel(
            title="Failed attempts",
            description="Part of the attempts at each step that raised.",
            unit="percentunit",
            queries=(
                Query(
                    expr=sum_rate(
                        "holdfast_worker_steps_total",
                        where=f'{GROUP}, outcome="failed"',
                        by="func",
                    )
                    + " / "
                    + sum_rate("holdfast_worker_steps_total", where=GROUP, by="func"),
                    legend="{{func}}",
                ),
            ),
            steps={0.05: ORANGE, 0.5: RED},
        ),
    ),
)

WORKER_GROUPS: Final = Dashboard(
    uid="holdfast-worker-groups",
    title="Worker groups",
    description="The work of each worker group against the processes that do it. The first two "
    "rows need the operator.",
    variables=(
        NAMESPACE,
        Variable(
            name="worker_group",
            label="WorkerGroup",
            metric="holdfast_operator_desired_replicas",
            of="worker_group",
        ),
        Variable(name="group", label="Group", metric="holdfast_store_queue_members", of="group"),
    ),
    rows=(SCALING, DECISIONS, QUEUES, WORKERS),
)
