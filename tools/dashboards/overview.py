"""The overview: is work getting done, and if not, where does it stop."""

from typing import Final

from tools.dashboards.grafana import ORANGE, RED, Dashboard, Panel, Query, Row
from tools.dashboards.shared import HERE, NAMESPACE, RATE, per_process, quantile, sum_rate

QUEUES: Final = "holdfast_store_queue"

NOW: Final = Row(
    title="Now",
    panels=(
        Panel(
            title="Due tasks",
            description="Tasks that could run now and wait for a process. Every store process "
            "counts the same database, hence the maximum of each group.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=f"sum(max by (namespace, job, group) ({QUEUES}_depth{HERE}))"),),
            steps={100: ORANGE, 1000: RED},
        ),
        Panel(
            title="Running tasks",
            description="Tasks that some process holds a lease of.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=f"sum(max by (namespace, job, group) ({QUEUES}_running{HERE}))"),),
        ),
        Panel(
            title="Oldest due task",
            description="How long the task has waited that has waited longest. It grows by one "
            "second a second when a group is stuck.",
            unit="s",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=f"max({QUEUES}_oldest_due_age_seconds{HERE})"),),
            steps={10: ORANGE, 60: RED},
        ),
        Panel(
            title="Commit (p99)",
            description="99 of 100 transactions of the store took at most this long, commit "
            "included. Every operation waits for one.",
            unit="s",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=quantile("0.99", "holdfast_store_batch_duration_seconds")),),
            steps={0.05: ORANGE, 0.5: RED},
        ),
        Panel(
            title="Operations per batch",
            description="Operations that share one transaction. It grows with the load, and the "
            "cost of an operation falls.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(
                Query(
                    expr=f"{sum_rate('holdfast_store_batch_operations_sum')}"
                    f" / {sum_rate('holdfast_store_batch_operations_count')}"
                ),
            ),
        ),
        Panel(
            title="Errors",
            description="Operations that the store answered with 5xx, per second.",
            unit="ops",
            kind="stat",
            width=4,
            height=4,
            queries=(
                Query(
                    expr=sum_rate("holdfast_store_requests_total", where='status=~"5.."')
                    + " or vector(0)"
                ),
            ),
            steps={0.001: RED},
        ),
    ),
)

WORK: Final = Row(
    title="Work",
    panels=(
        Panel(
            title="Due by group",
            description="Tasks of each worker group that could run now and wait for a process.",
            unit="short",
            queries=(Query(expr=f"max by (group) ({QUEUES}_depth{HERE})", legend="{{group}}"),),
        ),
        Panel(
            title="Oldest due task by group",
            description="How long the oldest of the due tasks of each group has waited.",
            unit="s",
            queries=(
                Query(
                    expr=f"max by (group) ({QUEUES}_oldest_due_age_seconds{HERE})",
                    legend="{{group}}",
                ),
            ),
        ),
        Panel(
            title="Tasks by how they left their process",
            description="Passes over a workflow or a remote step. A workflow that waits is "
            "suspended and comes back; `rejected` is a function that raised.",
            unit="ops",
            is_stacked=True,
            queries=(
                Query(
                    expr=sum_rate("holdfast_worker_tasks_total", by="outcome"),
                    legend="{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Tasks that wait",
            description="Suspended tasks wait for promises: timers, approvals, other tasks. Halted "
            "ones wait for a person.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum(max by (namespace, job, group) ({QUEUES}_suspended{HERE}))",
                    legend="suspended",
                ),
                Query(
                    expr=f"sum(max by (namespace, job, group) ({QUEUES}_halted{HERE}))",
                    legend="halted",
                    is_right=True,
                ),
            ),
        ),
        Panel(
            title="Steps that the clock or a lost process caused",
            description="Promises that timed out, leases that ran out or whose process "
            "disconnected (`lease_expiry`, `lost`), waiting tasks that were given out "
            "(`dispatch`).",
            unit="ops",
            queries=(
                Query(expr=sum_rate("holdfast_store_steps_total", by="kind"), legend="{{kind}}"),
            ),
        ),
        Panel(
            title="Lateness of timers",
            description="How long after its instant something due was carried out.",
            unit="s",
            queries=(
                Query(expr=quantile("0.5", "holdfast_store_timer_lateness_seconds"), legend="p50"),
                Query(expr=quantile("0.99", "holdfast_store_timer_lateness_seconds"), legend="p99"),
            ),
        ),
    ),
)

STORE: Final = Row(
    title="Store",
    panels=(
        Panel(
            title="Operations",
            description="Operations that were answered, by name.",
            unit="ops",
            is_stacked=True,
            queries=(
                Query(
                    expr=sum_rate("holdfast_store_requests_total", by="operation"),
                    legend="{{operation}}",
                ),
            ),
        ),
        Panel(
            title="Time to the answer",
            description="From the arrival of an operation to its answer: the wait for the batch "
            "before, and its own.",
            unit="s",
            queries=(
                Query(
                    expr=quantile("0.5", "holdfast_store_request_duration_seconds"), legend="p50"
                ),
                Query(
                    expr=quantile("0.99", "holdfast_store_request_duration_seconds"), legend="p99"
                ),
            ),
        ),
        Panel(
            title="Commit",
            description="Time of one transaction, commit included.",
            unit="s",
            queries=tuple(
                Query(expr=quantile(q, "holdfast_store_batch_duration_seconds"), legend=name)
                for q, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
            ),
        ),
        Panel(
            title="Batches",
            description="Transactions per second, and the statements in each. Statements do not "
            "grow with the operations.",
            unit="short",
            queries=(
                Query(expr=sum_rate("holdfast_store_batch_operations_count"), legend="batches / s"),
                Query(
                    expr=f"{sum_rate('holdfast_store_batch_statements_sum')}"
                    f" / {sum_rate('holdfast_store_batch_statements_count')}",
                    legend="statements / batch",
                    is_right=True,
                ),
            ),
        ),
        Panel(
            title="Messages",
            description="Tasks given out (`execute`) and settled promises told to whoever waits "
            "(`unblock`); below, those that nobody took in time.",
            unit="ops",
            queries=(
                Query(expr=sum_rate("holdfast_store_messages_total", by="kind"), legend="{{kind}}"),
                Query(
                    expr=sum_rate("holdfast_store_deliveries_total", where='status="dropped"'),
                    legend="dropped",
                ),
            ),
        ),
        Panel(
            title="Connected processes",
            description="Processes with a stream, the tasks that they hold and those that they "
            "could still take.",
            unit="short",
            queries=(
                Query(expr=f"sum(holdfast_store_members{HERE})", legend="processes"),
                Query(expr=f"sum(holdfast_store_tasks_held{HERE})", legend="held"),
                Query(expr=f"sum(holdfast_store_credits_free{HERE})", legend="free", is_right=True),
            ),
        ),
    ),
)

SCHEDULES: Final = Row(
    title="Schedules",
    panels=(
        Panel(
            title="Fired instants",
            description="Planned instants that became promises, per second.",
            unit="ops",
            queries=(
                Query(
                    expr=sum_rate("holdfast_store_schedule_promises_total", by="job"),
                    legend="{{job}}",
                ),
            ),
        ),
        Panel(
            title="Lateness of schedules",
            description="How long after its planned instant each was fired, and how long the "
            "earliest has been over that still waits: it grows while nothing fires.",
            unit="s",
            queries=(
                Query(
                    expr=quantile("0.5", "holdfast_store_schedule_lateness_seconds"), legend="p50"
                ),
                Query(
                    expr=quantile("0.99", "holdfast_store_schedule_lateness_seconds"), legend="p99"
                ),
                Query(
                    expr=f"max(holdfast_store_schedule_lag_seconds{HERE})",
                    legend="waiting",
                    is_right=True,
                ),
            ),
        ),
        Panel(
            title="Schedules that cannot be fired",
            description="Tries that failed, per second, and the schedules that are set aside for "
            "it. The log has `schedule_set_aside` with the id and the reason.",
            unit="short",
            queries=(
                Query(expr=sum_rate("holdfast_store_schedules_refused_total"), legend="failed / s"),
                Query(
                    expr=f"max(holdfast_store_schedules_set_aside{HERE})",
                    legend="set aside",
                    is_right=True,
                ),
            ),
        ),
    ),
)

ERRORS: Final = Row(
    title="Errors",
    panels=(
        Panel(
            title="Store: refused operations",
            description="4xx are answers that a caller can act on, such as 404 for an unknown "
            "promise or 409 for a lease that is lost; 429 and 5xx are the store's own trouble.",
            unit="ops",
            width=12,
            height=7,
            queries=(
                Query(
                    expr=sum_rate(
                        "holdfast_store_requests_total", where='status=~"4..|5.."', by="status"
                    ),
                    legend="{{status}}",
                ),
            ),
        ),
        Panel(
            title="Store: failed transactions",
            description="Transactions that did not commit. A few `TransactionAborted` are repeated "
            "unnoticed; `StorageUnavailable` means that the database is away.",
            unit="ops",
            width=12,
            height=7,
            queries=(
                Query(
                    expr=sum_rate("holdfast_store_batches_failed_total", by="kind"),
                    legend="{{kind}}",
                ),
            ),
        ),
        Panel(
            title="Steps: failed attempts",
            description="Attempts that raised, by function; most are tried again.",
            unit="ops",
            width=12,
            height=7,
            queries=(
                Query(
                    expr=sum_rate(
                        "holdfast_worker_steps_total", where='outcome="failed"', by="func"
                    ),
                    legend="{{func}}",
                ),
            ),
        ),
        Panel(
            title="Store: due rows set aside",
            description="Timeouts and leases that the database refuses to end, one by one. They "
            "are tried again, ever more seldom; what waits for them waits.",
            unit="short",
            width=12,
            height=7,
            queries=(
                Query(
                    expr=f"sum by (job) (holdfast_store_due_rows_set_aside{HERE})",
                    legend="{{job}}",
                ),
            ),
        ),
    ),
)

PROCESSES: Final = Row(
    title="Processes",
    panels=(
        Panel(
            title="Builds",
            description="How many processes of each component run which version; more than one "
            "version outside a rollout is a mistake.",
            unit="short",
            kind="table",
            columns=("component", "version", "python"),
            queries=(
                Query(
                    expr=f"count by (component, version, python) (holdfast_build_info{HERE})",
                ),
            ),
        ),
        Panel(
            title="CPU",
            description="Cores in use by each process. A Python process uses one for its own code.",
            unit="short",
            queries=(
                Query(
                    expr=per_process(f"rate(process_cpu_seconds_total{HERE}[{RATE}])"),
                    legend="{{component}} {{instance}}",
                ),
            ),
        ),
        Panel(
            title="Memory",
            description="Resident memory of each process.",
            unit="bytes",
            queries=(
                Query(
                    expr=per_process(f"process_resident_memory_bytes{HERE}"),
                    legend="{{component}} {{instance}}",
                ),
            ),
        ),
    ),
)

OVERVIEW: Final = Dashboard(
    uid="holdfast-overview",
    title="Holdfast overview",
    description="Whether work is getting done: what is due, how old it is, how fast the store "
    "commits, and what fails.",
    variables=(NAMESPACE,),
    rows=(NOW, WORK, STORE, SCHEDULES, ERRORS, PROCESSES),
)
