"""Settings of the workflow worker: `HOLDFAST_WORKER_*`."""

from dataclasses import dataclass

from holdfast.lineage import member_name
from holdfast_chassis.access import StoreAccessSettings
from holdfast_chassis.settings import ProcessSettings, integer, number, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(StoreAccessSettings, ProcessSettings):
    """What an operator may choose about a workflow worker."""

    store_url: str = setting(
        "grpc://127.0.0.1:50051", doc="The promise store; several addresses with commas between."
    )
    group: str = setting(
        "workers",
        doc="The worker group to join; members of `workers` join `worker` as well.",
        parse=member_name,
    )
    pid: str | None = setting(
        None,
        doc="Name of this process among the members of the store, such as the name of its pod;"
        " unset: a random one. No two processes may have the same at a time.",
        parse=member_name,
    )
    modules: tuple[str, ...] = setting(
        (
            "holdfast_worker.apps.orders",
            "holdfast_worker.apps.jobs",
            "holdfast_worker.apps.reports",
            "holdfast_worker.apps.async_api",
            "holdfast_worker.apps.shop",
        ),
        doc="Dotted modules whose `register(resonate)` is called at start.",
    )
    max_concurrency: int = setting(
        64,
        doc="Workflows that run at the same time; parked ones do not count.",
        parse=integer(1, 10_000),
    )
    lease_ttl_ms: int = setting(
        60_000,
        doc="How long a task of a silent worker stays its own.",
        parse=integer(1_000, 3_600_000),
    )
    stop_seconds: float = setting(
        25.0, doc="How long running steps may finish after SIGTERM.", parse=number(0, 3_600)
    )
    step_delay_ms: int = setting(
        0,
        doc="Pretend latency of the outside systems that the example steps stand for.",
        parse=integer(0, 600_000),
    )
    delay_factor: float = setting(
        1.0,
        doc="How long the steps of report and shop take, in times of their originals; 0: no time.",
        parse=number(0, 1_000),
    )
    attempts_file: str | None = setting(
        None, doc="A file to which each entered step of the examples appends one JSON line."
    )

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups to join; the original examples call `workers` by both names."""
        return ("workers", "worker") if self.group == "workers" else (self.group,)
