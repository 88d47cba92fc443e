"""A whole database is judged row by row, as the invariants judge a state that is held whole."""

import asyncio
import sys
from pathlib import Path

import pytest

from holdfast.core.invariants import State, check_state
from holdfast.core.profile import DEFAULT_PROFILE, AwaitInternal, Profile
from holdfast.core.records import Callback, Promise, Task, TaskState, Value
from holdfast_store.archives.audit import SUBJECTS_MAX, Audit, Broken
from holdfast_store.archives.port import CONTRADICTED, DAMAGED, UNREADABLE, Kind
from holdfast_store.db.errors import SchemaAhead, SchemaBehind, SchemaTampered
from holdfast_store.db.sqlite.archive import SqliteArchive
from holdfast_store.storage import StorageUnavailable
from tests.integration.store_archives.files import execute, migrated, write
from tests.unit.holdfast.core.rows import (
    AWAITED,
    HELD,
    NOW_MS,
    PARKED,
    PENDING,
    RUN,
    SETTLED,
    UNBLOCK,
    WAIT,
    store,
)
from tests.unit.holdfast.core.test_state_invariants import BROKEN_STATES, GOOD_STATES

ROOT = Path(__file__).parents[3]

Rule = tuple[str, str]

STORABLE = [state for rule, state in BROKEN_STATES if rule != "I1"]
"""A primary key keeps the others out."""


async def audited(
    path: Path, *, chunk_rows: int = 500, profile: Profile = DEFAULT_PROFILE
) -> Audit:
    async with SqliteArchive(path, chunk_rows=chunk_rows).snapshot() as snapshot:
        audit = Audit(snapshot, now_ms=NOW_MS, profile=profile)
        await audit.run()
    return audit


async def rules(path: Path, *, chunk_rows: int = 500) -> dict[Rule, list[str]]:
    broken = (await audited(path, chunk_rows=chunk_rows)).broken()
    return {(b.rule, b.meaning): sorted(v.subject for v in b.first) for b in broken}


async def numbers(path: Path) -> set[str]:
    return {number for number, _ in await rules(path)}


def judged_whole(state: State) -> dict[Rule, list[str]]:
    found: dict[Rule, list[str]] = {}
    for violation in check_state(state, now_ms=NOW_MS):
        found.setdefault((violation.rule, violation.meaning), []).append(violation.subject)
    return {rule: sorted(subjects) for rule, subjects in found.items()}


@pytest.mark.parametrize("number", range(len(GOOD_STATES)))
async def test_a_sound_database_passes(tmp_path: Path, number: int) -> None:
    path = migrated(tmp_path / "sound.db")
    write(path, GOOD_STATES[number])

    assert await rules(path) == {}


@pytest.mark.parametrize("number", range(len(STORABLE)))
async def test_what_is_broken_is_found_in_chunks_as_in_the_whole(
    tmp_path: Path, number: int
) -> None:
    path = migrated(tmp_path / "broken.db")
    write(path, STORABLE[number])

    found = await rules(path, chunk_rows=1)

    assert found == judged_whole(STORABLE[number])
    assert found == await rules(path)


async def test_several_things_that_are_broken_are_all_found(tmp_path: Path) -> None:
    path = migrated(tmp_path / "broken.db")
    write(path, store(AWAITED, SETTLED, RUN, PARKED, WAIT, UNBLOCK, ("a", "poll://uni@g/1")))
    assert await rules(path) == {}

    execute(
        path,
        "UPDATE promises SET settled_at_ms = NULL WHERE id = 's'",
        "DELETE FROM callbacks",
        "UPDATE listeners SET address = 'nowhere'",
        "INSERT INTO outbox VALUES ('poll://uni@g/1', 'gone', 1)",
    )

    assert await rules(path) == {
        ("I3", "settled iff dated, from creation to deadline"): ["s"],
        ("I16", "the address is an absolute URI"): ["a <- nowhere"],
        ("I18", "an unblock tells of a settled promise"): ["gone -> poll://uni@g/1"],
        ("I19", "a live suspended task has what can wake it"): ["x"],
        ("H4", "waiting_on counts this suspend's callbacks"): ["x"],
    }


async def test_a_key_that_comes_twice_is_found(tmp_path: Path) -> None:
    """Somebody has rebuilt a table without its key."""
    path = migrated(tmp_path / "twice.db")
    write(path, store(AWAITED))
    execute(
        path,
        "CREATE TABLE copy AS SELECT * FROM promises",
        "DROP TABLE promises",
        "ALTER TABLE copy RENAME TO promises",
        "INSERT INTO promises SELECT * FROM promises",
    )

    assert (await rules(path))["I1", "keys are unique"] == ["promise a"]


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ("UPDATE promises SET state = 'bogus' WHERE id = 'a'", "a"),
        ("UPDATE promises SET tags = '{' WHERE id = 'a'", "a"),
        ("UPDATE promises SET tags = '{\"a\": 1}' WHERE id = 'a'", "a"),
        ("UPDATE promises SET param_headers = '[]' WHERE id = 'a'", "a"),
        ("UPDATE promises SET param_data = 'text' WHERE id = 'a'", "a"),
        ("UPDATE promises SET timeout_at_ms = 'soon' WHERE id = 'a'", "a"),
        ("UPDATE promises SET created_at_ms = 1.5 WHERE id = 'a'", "a"),
        ("UPDATE promises SET armed = 7 WHERE id = 'a'", "a"),
        ("UPDATE tasks SET state = 'bogus'", "x"),
        ("UPDATE tasks SET wait_mode = ''", "x"),
        ("UPDATE tasks SET version = 'v'", "x"),
        ("UPDATE tasks SET target = x'00'", "x"),
        ("UPDATE callbacks SET wait_version = 'v'", "a x"),
        ("UPDATE outbox SET enqueued_at_ms = 'now'", "poll://uni@g/1 s"),
    ],
)
async def test_a_row_that_is_no_record_is_told_and_the_others_are_judged(
    tmp_path: Path, change: str, subject: str
) -> None:
    path = migrated(tmp_path / "odd.db")
    write(path, store(AWAITED, SETTLED, RUN, PARKED, WAIT, UNBLOCK))
    execute(path, change, "UPDATE promises SET settled_at_ms = NULL WHERE id = 's'")

    found = await rules(path)

    assert found[UNREADABLE, "a row can be read"] == [subject]
    assert found["I3", "settled iff dated, from creation to deadline"] == ["s"]


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ("UPDATE promises SET armed_at_ms = NULL WHERE id = 'a'", "a"),
        ("UPDATE promises SET armed_at_ms = 7 WHERE id = 's'", "s"),
        ("UPDATE promises SET branch = 'b' WHERE id = 'a'", "a"),
        ("UPDATE promises SET parent = 'b' WHERE id = 'a'", "a"),
        ("UPDATE tasks SET \"group\" = 'other'", "x"),
        ("UPDATE tasks SET due_at_ms = NULL", "x"),
    ],
)
async def test_a_row_that_an_index_misses_is_told(
    tmp_path: Path, change: str, subject: str
) -> None:
    """The store would never fire the deadline, or never hand the task out."""
    path = migrated(tmp_path / "missed.db")
    write(path, store(AWAITED, SETTLED, RUN, PENDING))
    execute(path, change)

    assert await rules(path) == {(CONTRADICTED, "the indexes agree with the rows"): [subject]}


async def test_a_resume_of_no_task_is_told(tmp_path: Path) -> None:
    path = migrated(tmp_path / "lost.db")
    execute(path, "INSERT INTO resumes VALUES ('gone', 'a')")

    assert await rules(path) == {(DAMAGED, "the database is whole"): ["gone <- a"]}


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = migrated(tmp_path / "damaged.db")
    write(path, store(*(promise_of(n) for n in range(200))))
    [(page, size)] = execute(
        path,
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master"
        " WHERE name = 'promises_armed'",
    )
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 100)
        file.write(b"\xff" * (size - 100))

    assert DAMAGED in await numbers(path)


async def test_only_the_first_rows_of_a_broken_rule_are_named(tmp_path: Path) -> None:
    path = migrated(tmp_path / "many.db")
    write(path, store(*(promise_of(n, settled_at_ms=200) for n in range(50))))

    [broken] = (await audited(path, chunk_rows=7)).broken()

    assert isinstance(broken, Broken)
    assert (broken.rule, broken.count, len(broken.first)) == ("I3", 50, SUBJECTS_MAX)
    assert [violation.subject for violation in broken.first[:2]] == ["p000", "p001"]


async def test_the_profile_decides_who_may_carry_obligations(tmp_path: Path) -> None:
    path = migrated(tmp_path / "internal.db")
    write(path, store(promise_of(1, tags={}), ("p001", "poll://uni@g/1")))

    strict = await audited(path)
    allowing = await audited(path, profile=Profile(await_internal=AwaitInternal.ALLOW))

    assert [broken.rule for broken in strict.broken()] == ["I8"]
    assert allowing.broken() == []


async def test_everything_is_counted(tmp_path: Path) -> None:
    path = migrated(tmp_path / "counted.db")
    write(path, store(AWAITED, SETTLED, RUN, PARKED, WAIT, UNBLOCK, ("a", "poll://uni@g/1")))

    audit = await audited(path, chunk_rows=1)

    assert audit.counts == {
        Kind.PROMISE: 3,
        Kind.TASK: 1,
        Kind.CALLBACK: 1,
        Kind.LISTENER: 1,
        Kind.UNBLOCK: 1,
        Kind.SCHEDULE: 0,
    }


async def test_memory_does_not_follow_the_size_of_the_database(tmp_path: Path) -> None:
    """Twenty times the rows, with payloads, trees and waits, at the same peak."""
    small, large = migrated(tmp_path / "small.db"), migrated(tmp_path / "large.db")
    write(small, wide(200))
    write(large, wide(4_000))

    of_small, of_large = await peak_bytes(small), await peak_bytes(large)

    assert of_large < 1.5 * of_small


async def peak_bytes(path: Path) -> int:
    module = "tests.integration.store_archives.peak"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(path), str(NOW_MS)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0
    return int(told)


def wide(runs: int) -> State:
    """Make runs that each wait for a promise of its own."""
    promises: list[Promise] = []
    tasks: list[Task] = []
    callbacks: list[Callback] = []
    for n in range(runs):
        name, child = f"run{n:06}", f"run{n:06}.0"
        payload = Value(data=b"x" * 2_000, headers={"a": "b"})
        promises.append(promise_of(n, id=name, tags=RUN.tags, param=payload))
        promises.append(promise_of(n, id=child, param=payload))
        tasks.append(
            Task(
                id=name,
                target=HELD.target,
                state=TaskState.SUSPENDED,
                version=1,
                waiting_on=1,
            )
        )
        callbacks.append(Callback(awaited=child, awaiter=name, wait_version=1))
    return store(*promises, *tasks, *callbacks)


def promise_of(number: int, **fields: object) -> Promise:
    defaults: dict[str, object] = {
        "id": f"p{number:03}",
        "tags": AWAITED.tags,
        "created_at_ms": 100,
        "timeout_at_ms": 1_000,
        "armed": True,
    }
    return Promise(**defaults | fields)  # type: ignore[arg-type]


async def test_a_snapshot_does_not_see_what_is_written_later(tmp_path: Path) -> None:
    path = migrated(tmp_path / "live.db")
    write(path, store(AWAITED))

    async with SqliteArchive(path).snapshot() as snapshot:
        await asyncio.to_thread(execute, path, "UPDATE promises SET state = 'resolved'")
        audit = Audit(snapshot, now_ms=NOW_MS, profile=DEFAULT_PROFILE)
        await audit.run()

    assert audit.broken() == []
    assert await numbers(path) == {"H2", "I3", CONTRADICTED}


async def test_a_snapshot_writes_nothing(tmp_path: Path) -> None:
    path = migrated(tmp_path / "read.db")

    async with SqliteArchive(path).snapshot() as snapshot:
        with pytest.raises(StorageUnavailable, match="readonly"):
            await snapshot._thread.run(lambda: snapshot._connection.execute("DELETE FROM promises"))


async def test_a_database_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    empty, ahead, tampered = (migrated(tmp_path / f"{n}.db") for n in range(3))
    execute(empty, "DROP TABLE schema_revisions")
    execute(ahead, "INSERT INTO schema_floors VALUES ('9999', '9998')")
    execute(tampered, "UPDATE schema_revisions SET checksum = 'x'")
    text = tmp_path / "text.db"
    text.write_text("no database" * 1_000)

    with pytest.raises(SchemaBehind, match="run `holdfast-store migrate`"):
        await audited(empty)
    with pytest.raises(SchemaBehind, match="there is no file"):
        await audited(tmp_path / "absent.db")
    with pytest.raises(SchemaAhead, match="9998"):
        await audited(ahead)
    with pytest.raises(SchemaTampered, match="has changed since it ran"):
        await audited(tampered)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await audited(text)
