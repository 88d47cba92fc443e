"""The echo server of the limits: decodes each operation, answers it, remembers nothing.

`python -m tests.bench.echo` prints the port it listens on and runs until it is terminated.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

from holdfast.v1.common_pb2 import PROMISE_STATE_PENDING, Promise
from holdfast.v1.workers_pb2 import (
    ChainResult,
    ConnectRequest,
    ConnectResponse,
    Operation,
    OperationResult,
)
from holdfast.v1.workers_pb2_grpc import WorkersServicer, add_WorkersServicer_to_server
from holdfast_chassis.lifecycle import Shutdown, run


class Echo(WorkersServicer):
    """Answers every message with one message.

    One task reads and another writes, as any server does that answers out of order: it is also the
    fastest way, and the limit should not be made easy.
    """

    async def Connect(  # type: ignore[override]  # noqa: N802 - the stubs know generators only
        self,
        request_iterator: AsyncIterator[ConnectRequest],
        context: grpc.aio.ServicerContext[ConnectRequest, ConnectResponse],
    ) -> None:
        answers: asyncio.Queue[ConnectResponse | None] = asyncio.Queue()

        async def read() -> None:
            async for request in request_iterator:
                answers.put_nowait(_response(request))
            answers.put_nowait(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            while (answer := await answers.get()) is not None:
                await context.write(answer)


def _response(request: ConnectRequest) -> ConnectResponse:
    return ConnectResponse(
        results=[
            ChainResult(
                correlation_id=chain.correlation_id,
                results=[_result(operation) for operation in chain.operations],
            )
            for chain in request.chains
        ]
    )


def _result(operation: Operation) -> OperationResult:
    create = operation.promise_create
    promise = Promise(
        id=create.id,
        state=PROMISE_STATE_PENDING,
        param=create.param,
        tags=create.tags,
        timeout_at_ms=create.timeout_at_ms,
        created_at_ms=create.timeout_at_ms,
    )
    return OperationResult(status=200, promise=promise, created=True)


async def main(shutdown: Shutdown) -> None:
    server = grpc.aio.server()
    add_WorkersServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await shutdown.wait()
    await server.stop(None)


if __name__ == "__main__":
    raise SystemExit(run(main))
