"""The settings of the store's commands, and what they come to inside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from holdfast.core import limits
from holdfast.core.profile import (
    AwaitInternal,
    EmptyHeartbeat,
    LineageTags,
    OriginCheck,
    Profile,
    ScopeExternal,
    Search,
    Undeliverable,
)
from holdfast_chassis.guarding import AuthSettings, TlsSettings
from holdfast_chassis.listen import Address
from holdfast_chassis.settings import ProcessSettings, argument, integer, one_of, setting
from holdfast_store.engine import EngineSettings
from holdfast_store.rpc.server import ServerLimits
from holdfast_store.rpc.stream import StreamLimits

VALUE_BYTES_LIMIT: Final = 1_966_080
"""A record with two payloads of this size still fits into one message of 4 MiB."""

MEBIBYTE: Final = 1_048_576
HOUR_MS: Final = 3_600_000


def span_or_off(maximum: int, minimum: int = 0) -> Callable[[str], int | None]:
    """Accept a number of milliseconds, or `off`."""
    number = integer(minimum, maximum)

    def parse(value: str) -> int | None:
        if value == "off":
            return None
        try:
            return number(value)
        except ValueError as error:
            raise ValueError(f"{error}, or off") from error

    return parse


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """What a command needs that works on the database and ends."""

    database_url: str = setting(
        "sqlite:///holdfast.db",
        doc="The database: sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME, or memory: for a"
        " store that forgets.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", doc="The least level that is logged."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateSettings(DatabaseSettings):
    """What bringing the tables up to date needs."""

    contract: bool = setting(
        default=False,
        doc="Also take away from the tables what only older versions use; no store of such a"
        " version may run any more.",
    )
    check: bool = setting(
        default=False,
        doc="Change nothing: say what would be done, with exit code 1 if that is anything.",
    )


def await_internal_setting() -> str:
    """Declare which promises may carry obligations: `serve` keeps to it, and `check` judges it."""
    declared: str = setting(
        AwaitInternal.REJECT,
        parse=one_of(*AwaitInternal),
        doc="Whether promises that only their own execution settles may be awaited.",
    )
    return declared


def scope_external_setting() -> str:
    """Declare what makes a promise external, for both commands as well."""
    declared: str = setting(
        ScopeExternal.ANY,
        parse=one_of(*ScopeExternal),
        doc="Which values of the tag resonate:scope make a promise external.",
    )
    return declared


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings(DatabaseSettings):
    """What the check of a database needs."""

    await_internal: str = await_internal_setting()
    scope_external: str = scope_external_setting()

    def profile(self) -> Profile:
        """Gather the rules' switches that matter to what is stored."""
        return Profile(
            await_internal=AwaitInternal(self.await_internal),
            scope_external=ScopeExternal(self.scope_external),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings(DatabaseSettings):
    """What writing a database out needs."""

    file: str = argument(doc="The file to write, which must not exist yet; - for stdout.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings(DatabaseSettings):
    """What reading a file into a database needs."""

    file: str = argument(doc="The file to read, as export wrote it; - for stdin.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings(AuthSettings, TlsSettings, ProcessSettings):
    """What the operator of a store can choose."""

    database_url: str = setting(
        "sqlite:///holdfast.db",
        doc="The database: sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME, or memory: for a"
        " store that forgets. A SQLite file is created and migrated at the start, a PostgreSQL"
        " database by holdfast-store migrate.",
    )
    listen: Address = setting(Address("127.0.0.1", 50051), doc="Where gRPC is served.")
    auth_scaler_open: bool = setting(
        default=False,
        doc="Answer KEDA's external scaler without a token, which KEDA cannot send.",
    )
    debug: bool = setting(
        default=False,
        doc="Allow the debug operations, which can delete everything, and let callers name the"
        " instant of an operation. Nothing becomes due by the clock then: for tests only.",
    )
    drain_ms: int = setting(
        10_000,
        parse=integer(0, HOUR_MS),
        doc="How long members may take to leave when the store stops.",
    )

    # Leases and messages
    stream_grace_ms: int | None = setting(
        100,
        parse=span_or_off(HOUR_MS),
        doc="Milliseconds after which the leases of a process that closed its stream are given"
        " back, unless it came back; off behind proxies that end HTTP/2 themselves.",
    )
    retry_interval_ms: int = setting(
        limits.RETRY_INTERVAL_MS,
        parse=integer(1, HOUR_MS),
        doc="Milliseconds after which a task that was offered and not acquired is offered again.",
    )
    pacing_ms: int = setting(
        limits.PACING_MS,
        parse=integer(0, 60_000),
        doc="Shortest time in milliseconds between a release and the task's next dispatch.",
    )
    unknown_function_releases_max: int = setting(
        limits.UNKNOWN_FUNCTION_RELEASES_MAX,
        parse=integer(0, 1_000_000),
        doc="Releases as unknown function after which a task is halted; 0 never halts.",
    )
    slow_poll_ms: int = setting(
        30_000,
        parse=integer(100, HOUR_MS),
        doc="Milliseconds between the statements of an idle store: they find what another process"
        " changed, and whether the database answers.",
    )

    # Retention
    retention_ms: int | None = setting(
        None,
        parse=span_or_off(10 * 365 * 24 * HOUR_MS, minimum=60_000),
        doc="Milliseconds after which a tree of promises that is over is deleted; off, the"
        " default, keeps everything. A deleted id may be created anew.",
    )
    retention_batch_rows: int = setting(
        500,
        parse=integer(1, 10_000),
        doc="Promises that retention deletes in one transaction.",
    )
    retention_pause_ms: int = setting(
        100,
        parse=integer(0, HOUR_MS),
        doc="Milliseconds between two transactions of retention.",
    )

    # Size and number
    value_bytes_max: int = setting(
        limits.VALUE_BYTES_MAX,
        parse=integer(1_024, VALUE_BYTES_LIMIT),
        doc="Largest payload in bytes, headers included.",
    )
    preload_bytes_max: int = setting(
        MEBIBYTE,
        parse=integer(0, 3 * MEBIBYTE),
        doc="Bytes of children that are sent along with a task.",
    )
    batch_operations_max: int = setting(
        1_024, parse=integer(1, 100_000), doc="Operations in one transaction."
    )
    queue_operations_max: int = setting(
        50_000,
        parse=integer(256, 10_000_000),
        doc="Operations that may wait for their transaction, of which one stream may have half;"
        " more are refused.",
    )
    queue_bytes_max: int = setting(
        64 * MEBIBYTE,
        parse=integer(16 * MEBIBYTE, 65_536 * MEBIBYTE),
        doc="Bytes that may wait for their transaction, of which one stream may have half; more are"
        " refused.",
    )
    calls_max: int = setting(
        10_000, parse=integer(16, 1_000_000), doc="gRPC calls at once, streams included."
    )
    members_max: int = setting(
        5_000, parse=integer(1, 1_000_000), doc="Processes connected by a stream at once."
    )
    stream_chains_max: int = setting(
        4_096,
        parse=integer(2_048, 1_000_000),
        doc="Chains of operations that one stream may have in flight.",
    )
    stream_buffer_bytes_max: int = setting(
        64 * MEBIBYTE,
        parse=integer(8 * MEBIBYTE, 4_096 * MEBIBYTE),
        doc="Bytes that may wait for one stream; a member that reads more slowly is disconnected.",
    )

    # The operating profile of the protocol, §0.4
    await_internal: str = await_internal_setting()
    scope_external: str = scope_external_setting()
    origin_check: str = setting(
        OriginCheck.OFF,
        parse=one_of(*OriginCheck),
        doc="Whether awaits across trees are refused.",
    )
    lineage_tags: str = setting(
        LineageTags.OFF,
        parse=one_of(*LineageTags),
        doc="Whether lineage tags must agree with the id.",
    )
    empty_heartbeat: str = setting(
        EmptyHeartbeat.REFRESH_PID,
        parse=one_of(*EmptyHeartbeat),
        doc="What a heartbeat without references does.",
    )
    undeliverable: str = setting(
        Undeliverable.HOLD,
        parse=one_of(*Undeliverable),
        doc="What happens to a task message that no member can take.",
    )
    search: str = setting(
        Search.ON,
        parse=one_of(*Search),
        doc="Whether searches are answered, or refused as not implemented. Consoles and the command"
        " line need them.",
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be meant together."""
        self.check_tls()

    def profile(self) -> Profile:
        """Gather the rules' switches."""
        return Profile(
            await_internal=AwaitInternal(self.await_internal),
            scope_external=ScopeExternal(self.scope_external),
            origin_check=OriginCheck(self.origin_check),
            lineage_tags=LineageTags(self.lineage_tags),
            empty_heartbeat=EmptyHeartbeat(self.empty_heartbeat),
            undeliverable=Undeliverable(self.undeliverable),
            search=Search(self.search),
            retry_interval_ms=self.retry_interval_ms,
            pacing_ms=self.pacing_ms,
            unknown_function_releases_max=self.unknown_function_releases_max,
            value_bytes_max=self.value_bytes_max,
        )

    def engine(self) -> EngineSettings:
        """Gather the engine's bounds."""
        return EngineSettings(
            batch_operations_max=self.batch_operations_max,
            queue_operations_max=self.queue_operations_max,
            queue_bytes_max=self.queue_bytes_max,
            preload_bytes_max=self.preload_bytes_max,
            stream_grace_ms=self.stream_grace_ms,
        )

    def server(self) -> ServerLimits:
        """Gather the gRPC server's bounds."""
        return ServerLimits(
            calls_max=self.calls_max,
            members_max=self.members_max,
            value_bytes_max=self.value_bytes_max,
            stream=StreamLimits(
                chains_max=self.stream_chains_max, buffer_bytes_max=self.stream_buffer_bytes_max
            ),
        )
