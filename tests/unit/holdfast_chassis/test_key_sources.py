"""Keys from files and URLs that change while somebody verifies tokens."""

import asyncio
import contextlib
import itertools
from pathlib import Path

import pytest

from holdfast_chassis import key_sources
from holdfast_chassis.files import Watched
from holdfast_chassis.key_sources import (
    URL_AGE_S_MAX,
    URL_PAUSE_S,
    FileKeys,
    UncheckedKeys,
    UrlKeys,
    open_keys,
)
from holdfast_chassis.keys import BadKeys, KeysUnavailable
from tests.issuing import ed25519_issuer, jwks

A, B = ed25519_issuer("a"), ed25519_issuer("b")


class Site:
    """A key set at a URL, and who asks for it when."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.now_s = 1_000.0
        self.asked = 0
        self.keys = UrlKeys("https://issuer/keys", fetch=self.fetch, now_s=lambda: self.now_s)

    def fetch(self, url: str) -> bytes:
        assert url == "https://issuer/keys"
        self.asked += 1
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def kids(self, *, wanted: str | None = None) -> list[str | None]:
        return [key.kid for key in (await self.keys.current(wanted=wanted)).keys]


async def test_keys_of_a_url_are_asked_for_when_they_are_old_and_not_before() -> None:
    site = Site(jwks(A.jwk()), jwks(B.jwk()))

    first = await site.kids()
    site.now_s += URL_AGE_S_MAX - 1
    again = await site.kids()
    site.now_s += 1
    while_asking = await site.kids()
    answered = await site.kids(wanted="b")

    assert (first, again, while_asking) == (["a"], ["a"], ["a"])
    assert (answered, site.asked) == (["b"], 2)


async def test_a_key_that_is_wanted_is_asked_for_at_once_and_then_left_alone() -> None:
    site = Site(jwks(A.jwk()), jwks(A.jwk(), B.jwk()))
    await site.kids()

    site.now_s += URL_PAUSE_S
    found = await site.kids(wanted="b")
    strange = [await site.kids(wanted="c") for _ in range(5)]

    assert found == ["a", "b"]
    assert strange == [["a", "b"]] * 5
    assert site.asked == 2


async def test_all_who_want_keys_at_once_share_one_question() -> None:
    site = Site(jwks(A.jwk()))

    await asyncio.gather(*(site.kids(wanted="a") for _ in range(20)))

    assert site.asked == 1


@pytest.mark.parametrize("trouble", [OSError("away"), b"<html>", b"{}", ValueError("url")])
async def test_keys_stay_while_their_url_is_of_no_use(trouble: bytes | Exception) -> None:
    site = Site(jwks(A.jwk()), trouble)
    await site.kids()

    site.now_s += URL_PAUSE_S
    found = await site.kids(wanted="b")

    assert (found, site.asked) == (["a"], 2)


async def test_without_any_keys_nobody_is_let_in_and_it_is_asked_again() -> None:
    site = Site(OSError("away"), jwks(A.jwk()))

    with pytest.raises(KeysUnavailable):
        await site.kids()
    with pytest.raises(KeysUnavailable):
        await site.kids()
    asked = site.asked
    site.now_s += URL_PAUSE_S

    assert (asked, await site.kids()) == (1, ["a"])


async def test_a_url_that_answers_for_ever_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the last one never."""
    monkeypatch.setattr(key_sources, "URL_SECONDS", 0.3)
    asked = 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n{")
            for _ in itertools.count():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        keys = UrlKeys(f"http://{host}:{port}/keys")
        async with asyncio.timeout(10):
            with pytest.raises(KeysUnavailable):
                await keys.current()

    assert asked == 1


async def test_strangers_are_not_told_where_keys_are(caplog: pytest.LogCaptureFixture) -> None:
    keys = UrlKeys("https://issuer.internal/keys?token=s3cret", fetch=lambda _: b"<html>")

    with pytest.raises(KeysUnavailable) as caught:
        await keys.current()

    assert "issuer" not in str(caught.value)
    assert "s3cret" not in str([record.__dict__ for record in caplog.records])
    assert "issuer.internal" in str([record.__dict__ for record in caplog.records])


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(BadKeys, match="user") as caught:
        open_keys("https://user:s3cret@issuer/keys")

    assert "s3cret" not in str(caught.value)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)


async def test_keys_of_a_file_are_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(A.pem)
    keys = FileKeys(path, pause_s=0)

    before = await keys.current()
    same = await keys.current()
    _replace(path, jwks(B.jwk()))
    after = await keys.current()
    _replace(path, b"broken")
    broken = await keys.current()
    path.unlink()
    gone = await keys.current()
    _replace(path, A.pem)
    back = await keys.current()

    assert before is same
    assert [key.kid for key in after.keys] == ["b"]
    assert broken is after
    assert gone is after
    assert [key.kid for key in back.keys] == [None]


def test_files_are_looked_at_once_in_a_while_only(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "file"
    path.write_bytes(b"1")
    watched = Watched((path,), now_s=lambda: now[0])
    assert watched.read() == [b"1"]

    _replace(path, b"2")
    early = watched.read_if_replaced()
    now[0] += 1
    due = watched.read_if_replaced()
    now[0] += 1

    assert (early, due, watched.read_if_replaced()) == (None, [b"2"], None)


def test_a_setting_names_a_file_a_url_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(A.pem)

    assert isinstance(open_keys("none"), UncheckedKeys)
    assert isinstance(open_keys("https://issuer/keys"), UrlKeys)
    assert isinstance(open_keys(str(path)), FileKeys)
    path.write_bytes(b"")
    with pytest.raises(BadKeys):
        open_keys(str(path))
    with pytest.raises(OSError, match="No such file"):
        open_keys(str(tmp_path / "missing"))
