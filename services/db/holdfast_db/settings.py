"""Settings of the db worker: `HOLDFAST_DB_*`."""

from dataclasses import dataclass

from holdfast.lineage import member_name
from holdfast_chassis.access import StoreAccessSettings
from holdfast_chassis.settings import ProcessSettings, integer, number, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DbSettings(StoreAccessSettings, ProcessSettings):
    """What an operator may choose about a db worker."""

    store_url: str = setting(
        "grpc://127.0.0.1:50051", doc="The promise store; several addresses with commas between."
    )
    group: str = setting("db", doc="The worker group to join.", parse=member_name)
    pid: str | None = setting(
        None,
        doc="Name of this process among the members of the store, such as the name of its pod;"
        " unset: a random one. No two processes may have the same at a time.",
        parse=member_name,
    )
    database_url: str = setting(
        "sqlite:///holdfast-app.db", doc="The application database, as a SQLAlchemy URL."
    )
    max_concurrency: int = setting(
        16, doc="Functions that run at the same time.", parse=integer(1, 10_000)
    )
    lease_ttl_ms: int = setting(
        60_000,
        doc="How long a task of a silent worker stays its own.",
        parse=integer(1_000, 3_600_000),
    )
    stop_seconds: float = setting(
        25.0, doc="How long running functions may finish after SIGTERM.", parse=number(0, 3_600)
    )
    step_delay_ms: int = setting(
        0,
        doc="Pretend latency of the warehouse that db.reserveInventory stands for.",
        parse=integer(0, 600_000),
    )
    delay_factor: float = setting(
        1.0,
        doc="How long the query of the report takes, in times of its original; 0: no time.",
        parse=number(0, 1_000),
    )
    attempts_file: str | None = setting(
        None, doc="A file to which each entered function appends one JSON line."
    )
