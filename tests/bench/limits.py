"""What this machine can do at best: operations over a gRPC stream.

Measured in the same run as the workloads, because only the ratio between the two says anything
about Holdfast: the same machine is twice as fast in a quiet hour as in a busy one.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

import grpc.aio

from holdfast.v1.common_pb2 import Value
from holdfast.v1.promises_pb2 import PromisesCreateRequest
from holdfast.v1.workers_pb2 import Chain, ConnectRequest, ConnectResponse, Operation
from holdfast.v1.workers_pb2_grpc import WorkersStub
from tests.bench.processes import ROOT, cpu_seconds, stop
from tests.bench.rates import Rate

WARM_UP_MESSAGES = 200


class EchoClient:
    """One stream to the echo server; counts how fast operations go there and back."""

    def __init__(self, channel: grpc.aio.Channel, server_pid: int) -> None:
        self._stub = WorkersStub(channel)
        self._server_pid = server_pid

    async def rate(self, *, in_flight: int, operations: int, seconds: float) -> Rate:
        """Count operations with `operations` in each message and `in_flight` messages under way."""
        call = self._stub.Connect()
        window = asyncio.Semaphore(in_flight)
        answered = 0
        warm = asyncio.Event()
        enough = False

        async def send() -> int:
            sent = 0
            while not enough:
                await window.acquire()
                sent += 1
                await call.write(_message(sent, operations))
            await call.done_writing()
            return sent

        async def receive() -> None:
            nonlocal answered
            async for response in call:
                answered += _operations_in(response)
                window.release()
                if answered >= WARM_UP_MESSAGES * operations:
                    warm.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            group.create_task(receive())
            await warm.wait()
            count, cpu, started = answered, self._cpu_seconds(), perf_counter()
            await asyncio.sleep(seconds)
            rate = Rate(
                answered - count, perf_counter() - started, cpu_seconds=self._cpu_seconds() - cpu
            )
            enough = True
        return rate

    def _cpu_seconds(self) -> float:
        return cpu_seconds(self._server_pid) + cpu_seconds(os.getpid())


@asynccontextmanager
async def echo_client() -> AsyncIterator[EchoClient]:
    """Run an echo server in a process of its own, and a channel to it."""
    popen = subprocess.Popen(  # noqa: ASYNC220 - nothing else waits for the loop yet
        [sys.executable, "-m", "tests.bench.echo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    try:
        assert popen.stdout is not None
        port = int(await asyncio.to_thread(popen.stdout.readline))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield EchoClient(channel, popen.pid)
    finally:
        stop(popen)


def _message(number: int, operations: int) -> ConnectRequest:
    return ConnectRequest(
        chains=[
            Chain(
                correlation_id=number,
                operations=[_operation(f"echo/{number}.{index}") for index in range(operations)],
            )
        ]
    )


def _operation(id: str) -> Operation:
    return Operation(
        promise_create=PromisesCreateRequest(
            id=id,
            timeout_at_ms=1_900_000_000_000,
            param=Value(data=b"eyJmdW5jIjoiYmVuY2guZWNobyIsImFyZ3MiOlsxXX0="),
            tags={"resonate:scope": "local", "resonate:parent": "echo"},
        )
    )


def _operations_in(response: ConnectResponse) -> int:
    return sum(len(result.results) for result in response.results)
