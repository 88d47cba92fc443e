"""The gRPC server: services, health, reflection, limits, and how it stops."""

import asyncio
from dataclasses import dataclass
from typing import Final

import grpc
from grpc_health.v1 import health as health_checks
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from holdfast.v1 import (
    admin_pb2,
    externalscaler_pb2,
    promises_pb2,
    schedules_pb2,
    tasks_pb2,
    workers_pb2,
)
from holdfast_chassis.certificates import CertificateFiles
from holdfast_chassis.listen import Address
from holdfast_chassis.logs import get_logger
from holdfast_store.debugging import Debug
from holdfast_store.engine import Engine
from holdfast_store.rpc.admin import Admin
from holdfast_store.rpc.answers import MESSAGE_BYTES_MAX
from holdfast_store.rpc.encryption import credentials_of
from holdfast_store.rpc.guard import Guard
from holdfast_store.rpc.scaler import Scaler
from holdfast_store.rpc.standing import EndingHealth, Standing
from holdfast_store.rpc.stream import StreamLimits
from holdfast_store.rpc.unary import Stopwatch, operation_handlers
from holdfast_store.rpc.workers import Workers

log = get_logger(__name__)

SERVICES: Final = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (promises_pb2, "Promises"),
        (tasks_pb2, "Tasks"),
        (schedules_pb2, "Schedules"),
        (workers_pb2, "Workers"),
        (admin_pb2, "Admin"),
        (externalscaler_pb2, "ExternalScaler"),
    )
)

# Names for probes, which ask grpc.health.v1.Health about one service: whether calls should be sent
# here, which the database has a say in, and whether this process answers at all. Starting a store
# anew does not bring a database back, so a probe that restarts must not ask the first question.
READINESS: Final = "readiness"
LIVENESS: Final = "liveness"

# A peer that vanished without closing its connection is noticed within 20 s: 10 s of silence, and
# 10 s without an answer to a ping.
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # without it a ping has a minute, whatever stands above
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Two stores on one port would split their members at random, and each would answer for half.
    ("grpc.so_reuseport", 0),
)


CALLS_GRACE_S: Final = 2.0
"""For calls that are in flight when the store stops."""


class CannotListen(Exception):
    """The address cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of what the server takes on."""

    calls_max: int = 10_000
    """Calls at once, streams included; beyond it gRPC answers RESOURCE_EXHAUSTED."""
    members_max: int = 5_000
    value_bytes_max: int
    stream: StreamLimits


class RpcServer:
    """Everything that the store serves over gRPC."""

    def __init__(
        self,
        engine: Engine,
        *,
        store_version: str,
        limits: ServerLimits,
        stopwatch: Stopwatch,
        guard: Guard | None = None,
        certificate: CertificateFiles | None = None,
        debug: Debug | None = None,
    ) -> None:
        """Without `guard` nobody is asked for a token, without `certificate` it is plain text.

        Without `debug` its operations are refused, and callers cannot name instants.
        """
        self._certificate = certificate
        if guard is not None:
            guard.on_denied = stopwatch.call_denied
        self._workers = Workers(
            engine,
            store_version=store_version,
            value_bytes_max=limits.value_bytes_max,
            members_max=limits.members_max,
            limits=limits.stream,
            stopwatch=stopwatch,
            remaining_s=None if guard is None else guard.remaining_s,
        )
        self._standing = Standing()
        self._health = EndingHealth(self._standing)
        self._server = grpc.aio.server(
            interceptors=() if guard is None else (guard,),
            options=OPTIONS,
            maximum_concurrent_rpcs=limits.calls_max,
        )
        self._server.add_generic_rpc_handlers(
            (
                self._workers.handler(),
                *operation_handlers(engine, stopwatch, times=debug is not None),
                Admin(engine, self._standing, debug).handler(),
                Scaler(engine, self._standing).handler(),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*SERVICES, health_checks.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._address: Address | None = None

    @property
    def address(self) -> Address:
        """Where the server listens, with the port that the system chose."""
        assert self._address is not None, "not started"
        return self._address

    @property
    def is_listening(self) -> bool:
        """Whether it has an address."""
        return self._address is not None

    async def start(self, listen: Address, *, members: bool = True) -> None:
        """Listen; raises `CannotListen`. Health says NOT_SERVING until `set_ready`.

        Without `members` none may join before `admit_members`.
        """
        self._workers.are_admitted = members
        await self.set_ready(False)
        await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        try:
            port = self._open_port(str(listen))
        except RuntimeError as error:
            raise CannotListen(f"The address {listen} cannot be had: {error}") from error
        await self._server.start()
        self._address = Address(listen.host, port)
        log.info("store_listening", address=str(self._address))

    def _open_port(self, address: str) -> int:
        if self._certificate is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials_of(self._certificate))

    def admit_members(self) -> None:
        """Let members join from now on."""
        self._workers.are_admitted = True

    async def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - its only argument, and its name
        """Say over grpc.health.v1 whether calls should be sent here."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if ready
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", READINESS, *SERVICES):
            await self._health.set(name, status)

    async def stop(self, *, grace_s: float) -> None:
        """Drain: no new calls, members leave after their answers, what stays is cut."""
        await self._health.enter_graceful_shutdown()
        self._workers.drain()
        try:
            async with asyncio.timeout(grace_s):
                await self._workers.gone()
        except TimeoutError:
            log.warning("members_stayed", grace_s=grace_s)
            self._workers.end_all()
        self._standing.end()
        # Unary calls get a moment of their own: each is at most a transaction long.
        await self._server.stop(grace=min(grace_s, CALLS_GRACE_S))
