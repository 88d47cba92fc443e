"""A store process that asks for tokens: keys that are replaced, and what members are given."""

import asyncio
import contextlib
import http.server
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import errors
from holdfast.core.records import PromiseState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    TaskCreate,
    TaskHeartbeat,
)
from holdfast.rpc import Access, Admin
from tests.integration.apps.processes import Process, Start
from tests.integration.auth.conftest import replace
from tests.integration.rpc.support import FAR_MS, Mailbox, join, member, targeted, until
from tests.issuing import Issuer, ed25519_issuer, jwks


async def url_of(process: Process) -> str:
    await process.ready()
    return f"grpc://{(await process.logged('store_listening'))['address']}"


async def admitted(url: str, token: str | None) -> str | None:
    """Ask for something; answer the code with which that is refused, or `None`."""
    try:
        async with Admin(url, access=Access(token=token)) as admin:
            await admin.list_members()
    except errors.ResonateError as error:
        return error.code
    return None


async def comes_to(url: str, token: str, code: str | None) -> bool:
    """Ask again and again until the answer is this one."""
    async with asyncio.timeout(30):
        while True:
            if await admitted(url, token) == code:
                return True
            await asyncio.sleep(0.1)


async def test_a_store_without_keys_says_so_once_and_asks_nobody(start: Start) -> None:
    store = start("store")

    url = await url_of(store)

    assert await admitted(url, None) is None
    warnings = [each for each in store.events() if each["event"] == "authentication_off"]
    assert [each["level"] for each in warnings] == ["warning"]
    assert "HOLDFAST_STORE_AUTH_KEYS" in warnings[0]["reason"]


async def test_a_key_in_a_file_is_replaced_while_the_store_runs(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    store = start("store", AUTH_KEYS=str(keys))
    url, other = await url_of(store), ed25519_issuer()
    old, new = (each.token(role="admin") for each in (issuer, other))

    first = [await admitted(url, each) for each in (None, old, new)]
    replace(keys, other.pem + issuer.pem)
    assert await comes_to(url, new, None)
    both = await admitted(url, old)
    replace(keys, other.pem)
    assert await comes_to(url, old, "token_invalid")

    assert first == ["token_missing", None, "token_invalid"]
    assert both is None
    assert await admitted(url, new) is None
    assert "authentication_off" not in store.log.read_text()


class _KeySet(http.server.BaseHTTPRequestHandler):
    content = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def key_site() -> Iterator[tuple[str, Any]]:
    """Serve a key set; its content may be replaced."""
    handler = type("KeySet", (_KeySet,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/keys", handler
        server.shutdown()


async def test_a_key_of_a_url_is_found_when_a_token_names_it(start: Start) -> None:
    old, new = ed25519_issuer("old"), ed25519_issuer("new")
    with key_site() as (keys_url, site):
        site.content = jwks(old.jwk())
        url = await url_of(start("store", AUTH_KEYS=keys_url))

        known = await admitted(url, old.token(role="admin"))
        site.content = jwks(old.jwk(), new.jwk())
        assert await comes_to(url, new.token(role="admin"), None)
        asked = site.asked
        strange = [await admitted(url, ed25519_issuer(f"{n}").token()) for n in range(20)]

    assert known is None
    assert strange == ["token_invalid"] * 20
    assert site.asked - asked <= 2, "strangers decide how often the issuer is asked"


async def test_a_store_whose_keys_cannot_be_had_refuses_and_asks_again(start: Start) -> None:
    url = await url_of(start("store", AUTH_KEYS="http://127.0.0.1:9/keys"))

    assert await admitted(url, ed25519_issuer().token(role="admin")) == "keys_unavailable"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"AUTH_KEYS": "missing.pem"}, "HOLDFAST_STORE_AUTH_KEYS is not usable: it cannot be read"),
        ({"AUTH_KEYS": "empty.pem"}, "must hold public keys in PEM"),
        ({"TLS_CERT": "missing.pem"}, "tls_cert and tls_key must be set together"),
        ({"TLS_CLIENT_CA": "missing.pem"}, "tls_client_ca needs tls_cert and tls_key"),
        ({"TLS_CERT": "a.crt", "TLS_KEY": "a.key"}, "a.crt: No such file"),
        ({"AUTH_LEEWAY_SECONDS": "-1"}, "must be a number from 0 to 300"),
    ],
)
async def test_files_that_cannot_be_used_end_the_start(
    start: Start, tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    store = start("store", **settings)

    assert await store.exit_code() == 2
    assert sentence in store.log.read_text()


async def test_an_expired_token_is_an_error_that_names_the_fix(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    url = await url_of(start("store", AUTH_KEYS=str(keys)))
    access = Access(token=issuer.token(prefix="", exp=time.time() - 60))

    async with join(url, connected=False, access=access) as (store, _):
        with pytest.raises(errors.Unauthenticated, match="RESONATE_TOKEN") as caught:
            await until(store.submit([PromiseGet(id="a")]))

    assert caught.value.code == "token_expired"
    assert not caught.value.retriable


@contextlib.asynccontextmanager
async def tenants(
    start: Start, keys: Path, issuer: Issuer
) -> AsyncIterator[tuple[Any, Mailbox, Any, Mailbox]]:
    """Run two workers of one group, for `a/` and for `b/`."""
    url = await url_of(start("store", AUTH_KEYS=str(keys)))

    def access(prefix: str) -> Access:
        return Access(token=issuer.token(prefix=prefix))

    async with (
        join(url, member("a", credits=100), access=access("a/")) as (a, in_a),
        join(url, member("b", credits=100), access=access("b/")) as (b, in_b),
    ):
        yield a, in_a, b, in_b


async def test_members_of_one_group_get_the_tasks_that_their_tokens_cover(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    async with tenants(start, keys, issuer) as (a, in_a, b, in_b):
        for number in range(20):
            await asyncio.gather(
                until(a.submit([targeted(f"a/{number}")])),
                until(b.submit([targeted(f"b/{number}")])),
            )
        got_a = [(await until(in_a.tasks.get())).task.id for _ in range(20)]
        got_b = [(await until(in_b.tasks.get())).task.id for _ in range(20)]

        assert sorted(got_a) == sorted(f"a/{n}" for n in range(20))
        assert sorted(got_b) == sorted(f"b/{n}" for n in range(20))
        assert in_a.tasks.empty()
        assert in_b.tasks.empty()


async def test_a_task_waits_while_the_only_member_may_not_have_it(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    url = await url_of(start("store", AUTH_KEYS=str(keys)))
    ours = Access(token=issuer.token(prefix="a/"))
    theirs = Access(token=issuer.token(prefix="b/"))

    async with join(url, member("a"), access=ours) as (a, in_a):
        async with join(url, member("b0", groups=("x",)), access=theirs) as (b, _):
            await until(b.submit([targeted("b/1")]))
        await until(a.submit([targeted("a/1")]))
        first = await until(in_a.tasks.get())
        async with join(url, member("b"), access=theirs) as (_, in_b):
            second = await until(in_b.tasks.get())

    assert (first.task.id, second.task.id) == ("a/1", "b/1")
    assert in_a.tasks.empty()


async def test_a_settlement_is_told_to_those_only_who_may_know_of_it(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    """Anybody may have a message sent to any address: the address does not decide who reads it."""
    async with tenants(start, keys, issuer) as (a, in_a, b, in_b):
        for store, prefix in ((a, "a/"), (b, "b/")):
            for address in ("poll://uni@g/a", "poll://any@g/a", "poll://any@g"):
                name = f"{prefix}{address.rpartition(':')[2]}"
                await until(store.submit([PromiseCreate(id=name, timeout_at_ms=FAR_MS, tags=OPEN)]))
                listen = PromiseRegisterListener(awaited=name, address=address)
                await until(store.submit([listen]))
                settle = PromiseSettle(id=name, state=PromiseState.RESOLVED)
                await until(store.submit([settle]))
        told_a = [(await until(in_a.settled.get())).id for _ in range(3)]
        told_b = [(await until(in_b.settled.get())).id for _ in range(2)]

        assert {name[:2] for name in told_a} == {"a/"}
        assert {name[:2] for name in told_b} == {"b/"}
        assert in_a.settled.empty()
        assert in_b.settled.empty()


OPEN = {"resonate:external": "true"}


async def test_children_that_a_token_does_not_cover_are_left_out_of_what_it_is_shown(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    url = await url_of(start("store", AUTH_KEYS=str(keys)))
    lineage = {"resonate:origin": "a/1", "resonate:branch": "a/1", "resonate:parent": "a/1"}
    async with (
        join(url, member("root", groups=()), access=Access(token=issuer.token(prefix=""))) as (
            r,
            _,
        ),
        join(url, member("a", credits=0), access=Access(token=issuer.token(prefix="a/"))) as (a, _),
    ):
        for name in ("a/1.1", "b/1"):
            child = PromiseCreate(id=name, timeout_at_ms=FAR_MS, tags=lineage)
            await until(r.submit([child]))
        task = TaskCreate(
            pid="a",
            ttl_ms=60_000,
            action=PromiseCreate(
                id="a/1",
                timeout_at_ms=FAR_MS,
                tags=lineage | {"resonate:target": "poll://any@elsewhere"},
            ),
        )
        shown = (await until(a.submit([task]))).outcomes[0]

    assert isinstance(shown, Done)
    assert shown.preload is not None
    assert [each.id for each in shown.preload.promises] == ["a/1.1"]
    assert not shown.preload.complete


async def test_a_heartbeat_of_all_leases_is_of_those_that_the_token_covers(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    """Two tenants may call a process alike; one must not keep alive what the other lost."""
    url = await url_of(start("store", AUTH_KEYS=str(keys)))
    ours, theirs = (Access(token=issuer.token(prefix=each)) for each in ("a/", "b/"))

    def lease(name: str) -> TaskCreate:
        tags = {"resonate:target": "poll://any@elsewhere"}
        action = PromiseCreate(id=name, timeout_at_ms=FAR_MS, tags=tags)
        return TaskCreate(pid="p", ttl_ms=1_500, action=action)

    async with (
        join(url, member("x", credits=0), access=ours) as (a, _),
        join(url, member("y", credits=1, groups=("elsewhere",)), access=theirs) as (b, in_b),
    ):
        await until(b.submit([lease("b/1")]))
        beating = asyncio.create_task(_beat(a))
        lost = await until(in_b.tasks.get())
        beating.cancel()

    assert lost.task.id == "b/1"


async def _beat(store: Any) -> None:
    while True:
        await store.submit([TaskHeartbeat(pid="p")])
        await asyncio.sleep(0.2)


async def test_a_member_is_not_sent_away_by_one_that_may_have_other_ids(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    async with tenants(start, keys, issuer) as (a, in_a, _, _):
        access = Access(token=issuer.token(prefix="b/"))
        url = a._url
        taker = member("a", instance="other")
        async with join(url, taker, connected=False, access=access) as (thief, _):
            with pytest.raises(errors.InvalidRequest) as caught:
                await until(thief.submit([PromiseGet(id="b/1")]))
        answer = await until(a.submit([PromiseGet(id="a/1")]))

    assert caught.value.code == "pid_taken"
    assert isinstance(answer.outcomes[0], Refusal)
    assert in_a.connections == 1


async def test_a_stream_goes_on_when_its_token_was_replaced_in_time(
    start: Start, keys: Path, issuer: Issuer, tmp_path: Path
) -> None:
    """The store asks for another stream 30 s before a token expires."""
    url = await url_of(start("store", AUTH_KEYS=str(keys), AUTH_LEEWAY_SECONDS="0"))
    file = tmp_path / "token"
    file.write_text(issuer.token(prefix="a/", exp=time.time() + 36))

    async with join(url, access=Access(token_file=str(file))) as (store, mailbox):
        file.write_text(issuer.token(prefix="a/"))
        number = 0
        async with asyncio.timeout(60):
            while mailbox.connections < 2:
                create = PromiseCreate(id=f"a/{number}", timeout_at_ms=FAR_MS)
                answer = await store.submit([create])
                assert isinstance(answer.outcomes[0], Done)
                number += 1

    assert number > 1


async def test_a_stream_ends_with_its_token(start: Start, keys: Path, issuer: Issuer) -> None:
    store_process = start("store", AUTH_KEYS=str(keys), AUTH_LEEWAY_SECONDS="0")
    url = await url_of(store_process)
    access = Access(token=issuer.token(prefix="a/", exp=time.time() + 8))

    async with join(url, access=access) as (store, mailbox):
        first = await until(store.submit([PromiseGet(id="a/1")]))
        await until(mailbox.disconnected.wait())
        with pytest.raises(errors.Unauthenticated) as caught:
            await until(store.submit([PromiseGet(id="a/1")]))

    assert isinstance(first.outcomes[0], Refusal)
    assert caught.value.code == "token_expired"
    assert (await store_process.logged("member_sent_away"))["code"] == "token_expired"


async def test_an_operators_watch_ends_with_its_token(
    start: Start, keys: Path, issuer: Issuer
) -> None:
    url = await url_of(start("store", AUTH_KEYS=str(keys), AUTH_LEEWAY_SECONDS="0"))
    token = issuer.token(role="admin", exp=time.time() + 3)

    async with Admin(url, access=Access(token=token)) as admin:
        with pytest.raises(errors.Unauthenticated) as caught:
            await until(_watch(admin))

    assert caught.value.code == "token_expired"


async def _watch(admin: Admin) -> None:
    async for _ in admin.watch_queues():
        pass
