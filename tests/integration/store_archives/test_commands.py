"""`holdfast-store check`, `export` and `import` as a person runs them, also beside a store."""

import asyncio
import fcntl
import json
import signal
import sqlite3
from asyncio.subprocess import PIPE
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast import Context, Resonate
from holdfast.core.records import PromiseState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFulfill,
    TaskSuspend,
)
from holdfast.rpc import RemoteStore
from tests.integration.rpc.support import FAR_MS, join, member
from tests.integration.store_archives.files import execute, migrated, tables_of, url_of, write
from tests.integration.store_archives.processes import PATIENCE_S, run, serving, start, until
from tests.integration.store_archives.test_round_trip import EVERYTHING, fill
from tests.unit.holdfast.core.rows import AWAITED, PARKED, RUN, SETTLED, UNBLOCK, WAIT, store

SOUND = store(AWAITED, SETTLED, RUN, PARKED, WAIT, UNBLOCK)
COUNTED = "3 promises, 1 task, 1 callback, 0 listeners, 1 unblock, 0 schedules"


async def test_a_sound_database_is_said_to_be_one(tmp_path: Path) -> None:
    path = migrated(tmp_path / "sound.db")
    write(path, SOUND)

    ended = await run("check", database=path)

    assert ended.code == 0, ended.err
    assert ended.out == f"checked {COUNTED}: every invariant holds\n"
    assert ended.err == ""


async def test_each_broken_invariant_is_a_line_with_its_rows(tmp_path: Path) -> None:
    path = migrated(tmp_path / "broken.db")
    write(path, SOUND)
    execute(
        path,
        "UPDATE promises SET settled_at_ms = NULL WHERE id = 's'",
        "UPDATE promises SET created_at_ms = timeout_at_ms",
        "UPDATE promises SET tags = 'secret' WHERE id = 'a'",
        "INSERT INTO listeners VALUES ('two\nlines', 'nowhere')",
    )

    ended = await run("check", database=path)

    *lines, last = ended.out.splitlines()
    assert ended.code == 1
    assert [line.split(":")[0] for line in lines] == sorted(
        (line.split(":")[0] for line in lines), key=lambda text: (text[0], int(text[1:3]))
    )
    of_rule = {line.split(" ")[0]: line for line in lines}
    assert of_rule["I3"].startswith(
        "I3 settled iff dated, from creation to deadline: broken by s; s is resolved, created 1000"
    )
    assert "D1 a row can be read: broken by a; a is promises: " in of_rule["D1"]
    assert "'two\\nlines <- nowhere'" in of_rule["I16"]
    assert "secret" not in ended.out
    assert last.startswith("checked 2 promises, 1 task, 1 callback, 1 listener, 1 unblock")
    assert f": {len(lines)} invariants are broken, " in last


async def test_a_file_goes_from_one_database_to_another(tmp_path: Path) -> None:
    path, copy, file = (tmp_path / name for name in ("a.db", "b.db", "a.jsonl"))
    await fill(migrated(path), EVERYTHING)

    out = await run("export", str(file), database=path)
    back = await run("import", str(file), database=copy)

    assert (out.code, back.code) == (0, 0), out.err + back.err
    assert file.stat().st_mode & 0o777 == 0o600
    assert tables_of(copy) == tables_of(path)
    assert json.loads(out.err)["event"] == "database_exported"
    assert json.loads(back.err) | {"promises": 1, "schedules": 1} == json.loads(back.err)


async def test_a_file_goes_through_a_pipe(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "b.db"
    await fill(migrated(path), EVERYTHING)

    out = await run("export", "-", database=path)
    cut = await run("import", "-", database=copy, text=out.out.encode()[:-40])
    back = await run("import", "-", database=copy, text=out.out.encode())
    again = await run("import", "-", database=copy, text=out.out.encode())

    assert [ended.code for ended in (out, cut, back, again)] == [0, 1, 0, 2]
    assert cut.says == (
        "holdfast-store: Nothing was imported: line 8: the file was cut off within this line."
    )
    assert "the database is not empty" in again.says
    assert tables_of(copy) == tables_of(path)


async def test_an_import_that_is_killed_has_done_nothing(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "b.db"
    await fill(migrated(path), EVERYTHING)
    text = (await run("export", "-", database=path)).out.encode()
    header, *records, _ = text.splitlines(keepends=True)

    process = await start("import", "-", database=url_of(copy), standard_input=PIPE)
    assert process.stdin is not None
    process.stdin.write(header)
    for record in records:
        process.stdin.write(record)
    process.stdin.write(b"".join(listeners(2_000)))  # so that some have been written, and more wait
    await process.stdin.drain()
    await until(lambda: copy.exists() and is_being_filled(copy))
    process.kill()
    await process.communicate()
    unfinished = tables_of(copy)
    back = await run("import", "-", database=copy, text=text)

    assert unfinished == tables_of(migrated(tmp_path / "empty.db"))
    assert back.code == 0, back.err
    assert tables_of(copy) == tables_of(path)


def listeners(count: int) -> list[bytes]:
    line = b'{"kind":"listener","promise_id":"full","address":"http://%d"}\n'
    return [line % number for number in range(count)]


def is_being_filled(path: Path) -> bool:
    """Look whether a database has its tables, and somebody is in the middle of a transaction."""
    tables = 0
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            return "locked" in str(error) and tables > 0
    return False


async def test_an_export_that_is_stopped_leaves_no_file(tmp_path: Path) -> None:
    path, file = migrated(tmp_path / "a.db"), tmp_path / "out" / "a.jsonl"
    file.parent.mkdir()
    execute(
        path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
        " INSERT INTO promises SELECT 'p' || i, 'pending', zeroblob(2000), NULL, NULL, NULL,"
        " '{}', 9, 1, NULL, 0, NULL, NULL, NULL, 100, 'p' || i, NULL FROM n",
    )

    process = await start("export", str(file), database=url_of(path))
    await until(lambda: any(file.parent.iterdir()))
    process.send_signal(signal.SIGSTOP)
    under_way = [each.name for each in file.parent.iterdir()]
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(PATIENCE_S):
        _, err = await process.communicate()

    assert len(under_way) == 1
    assert under_way[0].endswith(".part"), "a file has its name only when it is whole"
    assert process.returncode == 1
    assert err.decode() == "holdfast-store: Stopped before the end; nothing was kept.\n"
    assert list(file.parent.iterdir()) == []


async def test_what_a_killed_export_has_left_is_written_over(tmp_path: Path) -> None:
    path, file = tmp_path / "a.db", tmp_path / "out" / "a.jsonl"
    await fill(migrated(path), EVERYTHING)
    file.parent.mkdir()
    left = file.with_name("a.jsonl.part")
    left.write_text("half of something" * 10_000)
    left.chmod(0o644)

    ended = await run("export", str(file), database=path)
    copied = await run("import", str(file), database=tmp_path / "b.db")

    assert (ended.code, copied.code) == (0, 0), ended.err + copied.err
    assert list(file.parent.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600


async def test_two_exports_do_not_write_to_one_file(tmp_path: Path) -> None:
    path, file = tmp_path / "a.db", tmp_path / "a.jsonl"
    await fill(migrated(path), EVERYTHING)
    part = file.with_name("a.jsonl.part")

    with part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refused = await run("export", str(file), database=path)

    assert refused.code == 1
    assert "another export writes" in refused.says
    assert part.exists()
    assert not file.exists()


# Beside a store, and from one to the next


async def test_a_store_under_load_is_checked_and_exported(tmp_path: Path) -> None:
    path, copy, file = (tmp_path / name for name in ("a.db", "b.db", "a.jsonl"))
    finished: list[str] = []
    enough = asyncio.Event()
    async with serving(path) as url, join(url, member(groups=())) as (client, _):
        load = [asyncio.create_task(trees(client, n, finished, enough)) for n in range(8)]
        async with asyncio.timeout(PATIENCE_S):
            await enough.wait()
        first = await run("check", database=path)
        known = list(finished)
        out = await run("export", str(file), database=path)
        second = await run("check", database=path)
        written_meanwhile = len(finished) - len(known)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
    back = await run("import", str(file), database=copy)
    third = await run("check", database=copy)

    for ended in (first, out, second, back, third):
        assert ended.code == 0, ended.out + ended.err
    assert written_meanwhile > 0
    exported = {row[0] for row in execute(copy, "SELECT id FROM promises WHERE state = 'resolved'")}
    assert set(known) <= exported
    assert not set(finished) <= exported, "what came later is not in it"


async def trees(
    client: RemoteStore, number: int, finished: list[str], enough: asyncio.Event
) -> None:
    """Run one tree after the other: a task, a child, a wait, a wake-up, an end."""
    for count in range(1_000_000):
        root = f"run{number}.{count}"
        for chain in steps_of(root):
            answer = await client.submit(chain)
            assert all(isinstance(outcome, Done) for outcome in answer.outcomes), answer
        finished.append(root)
        if len(finished) > 100:
            enough.set()


def steps_of(root: str) -> list[list[Request]]:
    child = f"{root}.0"
    of_root = {"resonate:target": "poll://any@elsewhere"}
    external = {"resonate:external": "true"}
    settle = PromiseSettle(id=root, state=PromiseState.RESOLVED)
    return [
        [
            TaskCreate(
                pid="p",
                ttl_ms=60_000,
                action=PromiseCreate(id=root, timeout_at_ms=FAR_MS, tags=of_root),
            ),
            PromiseCreate(id=child, timeout_at_ms=FAR_MS, tags=external),
            TaskSuspend(
                id=root,
                version=1,
                actions=(PromiseRegisterCallback(awaited=child, awaiter=root),),
            ),
        ],
        [PromiseSettle(id=child, state=PromiseState.RESOLVED)],
        [
            TaskAcquire(id=root, version=1, pid="p", ttl_ms=60_000),
            TaskFulfill(id=root, version=2, action=settle),
        ],
    ]


async def test_a_workflow_goes_on_in_the_database_that_it_was_brought_to(tmp_path: Path) -> None:
    old, new, file = (tmp_path / name for name in ("old.db", "new.db", "old.jsonl"))
    entered: list[str] = []

    def journey(ctx: Context) -> Generator[Any, Any, list[str]]:
        packed = yield ctx.run(step, "pack")
        word = yield (yield ctx.promise(id="the-word"))
        arrived = yield ctx.run(step, "arrive")
        return [packed, word, arrived]

    def step(ctx: Context, name: str) -> str:
        entered.append(name)
        return name

    def client(url: str) -> Resonate:
        resonate = Resonate(url=url, group="travellers", env={})
        resonate.register("journey", journey)
        return resonate

    async with serving(old) as url, client(url) as resonate:
        await resonate.begin_run("journey/1", "journey")
        await until(lambda: state_of(old, "journey/1") == "suspended")
        out = await run("export", str(file), database=old)
    back = await run("import", str(file), database=new)
    async with serving(new) as url, client(url) as resonate:
        await resonate.promises.resolve("the-word", "go")
        async with asyncio.timeout(PATIENCE_S):
            result = await (await resonate.get("journey/1")).result()

    assert (out.code, back.code) == (0, 0), out.err + back.err
    assert result == ["pack", "go", "arrive"]
    assert entered == ["pack", "arrive"]


def state_of(path: Path, task_id: str) -> str | None:
    found = execute(path, f"SELECT state FROM tasks WHERE id = '{task_id}'")
    return found[0][0] if found else None
