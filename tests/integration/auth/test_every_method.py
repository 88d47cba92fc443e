"""Every method of the contract asks for a token, and every id in every request counts."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from holdfast.core.requests import PromiseCreate, ScheduleCreate
from holdfast.v1 import workers_pb2 as pb
from holdfast_chassis.keys import read_keys
from holdfast_chassis.tokens import Expectations, Verifier
from holdfast_store.rpc.guard import RULES, Guard, Rule
from tests.integration.auth.messages import methods, operations, shapes_of
from tests.integration.rpc.support import FAR_MS, RawStream, Served, reason_of, serve
from tests.issuing import ed25519_issuer

ISSUER = ed25519_issuer()
STRANGER = ed25519_issuer()
METHODS = dict(methods())
NAMED = [path for path in METHODS if RULES.get(path) is Rule.NAMED]
WHOLE = [path for path in METHODS if RULES.get(path) in (Rule.EVERYTHING, Rule.SCALER)]
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED

OURS = ISSUER.token(prefix="a/")
TARGETED = {"resonate:target": "poll://any@nobody"}
EMPTY = ISSUER.token(prefix="")
ADMIN = ISSUER.token(role="Admin")


class FixedKeys:
    """The issuer's key."""

    def __init__(self) -> None:
        self._keys = read_keys(ISSUER.pem)

    async def current(self, *, wanted: str | None = None) -> Any:
        del wanted
        return self._keys


def guard(**options: bool) -> Guard:
    return Guard(Verifier(FixedKeys(), Expectations()), **options)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve(guard=guard()) as served:
        yield served


def bearing(token: str | None) -> tuple[tuple[str, str], ...]:
    return () if token is None else (("authorization", f"Bearer {token}"),)


async def call(
    served: Served, path: str, method: MethodDescriptor, request: Message, token: str | None
) -> grpc.StatusCode:
    """Call any method; answer the status that its first answer, or its end, has."""
    streams = (method.client_streaming, method.server_streaming)
    async with served.channel() as channel:
        make: Any = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, True): channel.stream_stream,
        }[streams]
        found: list[grpc.aio.AioRpcError] = []
        open_call = make(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            if streams == (False, False):
                await open_call(request, metadata=bearing(token), timeout=10)
                return grpc.StatusCode.OK
            sent = iter([request]) if method.client_streaming else request
            running = open_call(sent, metadata=bearing(token), timeout=10)
            await running.read()
            running.cancel()
        except grpc.aio.AioRpcError as error:
            found.append(error)
    for failure in found:
        assert failure.code() not in (DENIED, UNKNOWN) or reason_of(failure)
        return failure.code()
    return grpc.StatusCode.OK


def test_every_method_has_a_rule() -> None:
    health = {f"/grpc.health.v1.Health/{m.name}" for m in _methods_of(health_pb2, "Health")}
    reflection = {
        f"/grpc.reflection.v1alpha.ServerReflection/{m.name}"
        for m in _methods_of(reflection_pb2, "ServerReflection")
    }

    assert set(RULES) == {*METHODS, *health, *reflection}
    assert {path for path, rule in RULES.items() if rule is Rule.OPEN} == health | reflection


def _methods_of(module: Any, service: str) -> Sequence[MethodDescriptor]:
    return list(module.DESCRIPTOR.services_by_name[service].methods)


@pytest.mark.parametrize("path", METHODS)
async def test_nothing_is_told_without_a_valid_token(served: Served, path: str) -> None:
    method = METHODS[path]
    request = GetMessageClass(method.input_type)()

    for token in (None, "", "nonsense", STRANGER.token(role="admin"), ISSUER.token(exp=1)):
        assert await call(served, path, method, request, token) is UNKNOWN, token
    without_claims = await call(served, path, method, request, ISSUER.token())

    assert without_claims is DENIED


@pytest.mark.parametrize("path", WHOLE)
async def test_what_is_about_everything_needs_a_token_for_everything(
    served: Served, path: str
) -> None:
    method = METHODS[path]
    request = GetMessageClass(method.input_type)()

    assert await call(served, path, method, request, OURS) is DENIED
    for token in (EMPTY, ADMIN):
        # Debug operations are refused by a store without debug mode in any case.
        refused = await call(served, path, method, request, token) is DENIED
        assert refused == ("/Debug" in path), token


@pytest.mark.parametrize(
    "path", [path for path in NAMED if not path.endswith(("/Connect", "/Search"))]
)
async def test_every_id_in_a_request_must_be_covered(served: Served, path: str) -> None:
    method = METHODS[path]
    shapes = shapes_of(method.input_type)
    assert all(shape.paths for shape in shapes)

    for shape in shapes:
        covered = shape.naming("a/1")
        assert await call(served, path, method, covered, OURS) not in (DENIED, UNKNOWN)
        for wrong in shape.paths:
            for other in ("b/1", "a", ""):
                request = shape.naming("a/1", but=wrong, other=other)
                assert await call(served, path, method, request, OURS) is DENIED, (wrong, other)
        foreign = shape.naming("b/1")
        for token in (EMPTY, ADMIN):
            assert await call(served, path, method, foreign, token) not in (DENIED, UNKNOWN)


@pytest.mark.parametrize(
    ("token", "id_prefix", "shown"),
    [
        (OURS, "", ["a/1", "a/2"]),
        (OURS, "a", ["a/1", "a/2"]),
        (OURS, "a/2", ["a/2"]),
        (OURS, "b/", None),
        (EMPTY, "", ["a/1", "a/2", "b/1"]),
        (ADMIN, "b", ["b/1"]),
    ],
)
async def test_a_listing_has_what_the_token_covers(
    served: Served, token: str, id_prefix: str, shown: list[str] | None
) -> None:
    """Each page has one: those that the token does not cover take no place on any."""
    for each in ("a/1", "b/1", "a/2"):
        template = {"promise_id": each, "promise_timeout_ms": 1, "promise_tags": TARGETED}
        await served.engine.apply(
            ScheduleCreate(id=each, cron="0 0 1 1 *", **template),  # type: ignore[arg-type]
            PromiseCreate(id=each, timeout_at_ms=FAR_MS, tags=TARGETED),
        )

    async with served.channel() as channel:
        for kind in ("promises", "tasks", "schedules"):
            if shown is not None:
                assert await listed(channel, kind, token, id_prefix) == shown, kind
                continue
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await listed(channel, kind, token, id_prefix)
            assert denied.value.code() is DENIED
            assert reason_of(denied.value) == "prefix_mismatch"


async def listed(channel: grpc.aio.Channel, kind: str, token: str, id_prefix: str) -> list[str]:
    """Follow the cursors of a listing to its end."""
    path = f"/holdfast.v1.{kind.title()}/Search"
    method = METHODS[path]
    search: Any = channel.unary_unary(
        path,
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    found: list[str] = []
    cursor: str | None = None
    while cursor != "":
        request: Any = GetMessageClass(method.input_type)
        asked = request(limit=1, cursor=cursor or "", id_prefix=id_prefix)
        page = await search(asked, metadata=bearing(token))
        assert len(getattr(page, kind)) == 1
        found += [each.id for each in getattr(page, kind)]
        cursor = page.cursor
    return found


@contextlib.asynccontextmanager
async def stream_of(served: Served, token: str, **hello: Any) -> AsyncIterator[RawStream]:
    async with served.channel() as channel:
        stream = RawStream(channel, metadata=bearing(token))
        await stream.hello(**hello)
        yield stream


async def codes_of(stream: RawStream, *chain: Any) -> list[tuple[int, str]]:
    """Send a chain; answer status and code of each result."""
    await stream.send(chains=[pb.Chain(correlation_id=1, operations=chain)])
    while not (message := await stream.read()).results:
        pass
    (result,) = message.results
    return [(each.status, each.code) for each in result.results]


async def test_every_id_in_a_chain_must_be_covered(served: Served) -> None:
    harmless = pb.Operation()
    harmless.promise_create.id = "a/harmless"

    async with stream_of(served, OURS) as stream:
        for shape in operations():
            covered = await codes_of(stream, shape.naming("a/1"))
            assert covered[0][0] != 403
            for wrong in shape.paths:
                bad = shape.naming("a/1", but=wrong, other="b/1")
                outcomes = await codes_of(stream, harmless, bad, harmless)
                assert outcomes == [(200, ""), (403, "prefix_mismatch"), (0, "")], wrong


async def test_what_is_denied_is_counted(served: Served) -> None:
    path = "/holdfast.v1.Promises/Get"
    method = METHODS[path]
    (shape,) = shapes_of(method.input_type)

    await call(served, path, method, shape.message, None)
    await call(served, path, method, shape.naming("b/1"), OURS)
    async with stream_of(served, OURS) as stream:
        operation = pb.Operation()
        operation.promise_get.id = "b/1"
        await codes_of(stream, operation)

    counted = {
        sample.labels["code"]: sample.value
        for metric in served.metrics.collect()
        if metric.name == "holdfast_store_calls_denied"
        for sample in metric.samples
    }
    assert counted == {"token_missing": 1, "prefix_mismatch": 2}


async def test_the_scaler_may_be_open_and_nothing_else_is() -> None:
    async with serve(guard=guard(scaler_is_open=True)) as served:
        for path, method in METHODS.items():
            request = GetMessageClass(method.input_type)()
            code = await call(served, path, method, request, None)
            assert (code is UNKNOWN) == (RULES[path] is not Rule.SCALER), path


async def test_probes_and_reflection_need_no_token(served: Served) -> None:
    async with served.channel() as channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = await check(b"", timeout=10)
        info: Any = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        listing = info(
            iter([reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()])
        )
        services = await listing.read()

    assert health_pb2.HealthCheckResponse.FromString(answer).status == 1
    assert b"holdfast.v1.Promises" in services
