"""A store is killed while it fires: its promises and the schedule's advance are one, or neither."""

import asyncio
import signal
import sys
from itertools import count
from pathlib import Path

import pytest

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.records import TARGET, TaskState
from holdfast.core.requests import Done, ScheduleCreate, ScheduleGet
from holdfast.core.search import PromiseSearch, TaskSearch
from holdfast_store.engine import Engine
from holdfast_store.storage import Storage
from holdfast_store.storages import migrate, open_storage
from tests.integration.postgres import Server

ROOT = Path(__file__).parents[3]
AT_MS = 180_000
STATEMENTS_MIN = 8
"""What a firing takes at least, on either database."""
IDS = ["nightly.120000", "nightly.180000", "nightly.60000"]


def new_url(request: pytest.FixtureRequest, folder: Path, database: str) -> str:
    """Make a migrated, empty database."""
    if database == "postgres":
        server: Server = request.getfixturevalue("postgres_server")
        return server.empty_database()
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder / 'holdfast.db'}"
    migrate(url)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request, tmp_path, request.param)


async def opened(url: str) -> tuple[Storage, Engine]:
    storage = open_storage(url)
    await storage.open()
    engine = Engine(storage)
    await engine.start()
    return storage, engine


async def next_run(engine: Engine) -> int:
    (outcome,) = await engine.apply(ScheduleGet(id="nightly"))
    assert isinstance(outcome, Done)
    assert outcome.schedule is not None
    return outcome.schedule.next_run_at_ms


async def ids(storage: Storage) -> list[str]:
    page = await storage.search_promises(PromiseSearch(), now_ms=INTEGER_MAX)
    return [promise.id for promise in page.promises]


async def prepared(url: str) -> None:
    storage, engine = await opened(url)
    nightly = ScheduleCreate(
        id="nightly",
        cron="* * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=INTEGER_MAX,
        promise_tags={TARGET: "poll://any@workers"},
    )
    await engine.apply(nightly, at_ms=0)
    await engine.stop()
    await storage.close()


async def killed(url: str, point: str) -> bool:
    """Fire in a process that dies at a point; answer whether it came there."""
    arguments = ("-m", "tests.integration.store_db.firing", url, point, str(AT_MS))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    code = await process.wait()
    assert code in (0, -signal.SIGKILL)
    return code != 0


async def left_by(url: str) -> tuple[list[str], int]:
    """Answer what is there after a death; then fire, and see each occurrence there once."""
    storage, engine = await opened(url)
    try:
        left = (await ids(storage), await next_run(engine))

        await engine.firing.fire_due(at_ms=AT_MS)

        assert await ids(storage) == IDS
        assert await next_run(engine) == 240_000
        tasks = await storage.search_tasks(TaskSearch(), now_ms=AT_MS)
        assert [(task.id, task.state, task.version) for task in tasks.tasks] == [
            (each, TaskState.PENDING, 0) for each in IDS
        ]
    finally:
        await engine.stop()
        await storage.close()
    return left


@pytest.mark.parametrize("point", ["loaded", "decided", "committed", "answered"])
async def test_a_kill_around_a_fire_loses_and_doubles_nothing(url: str, point: str) -> None:
    await prepared(url)

    assert await killed(url, point)

    is_done = point in {"committed", "answered"}
    assert await left_by(url) == ((IDS, 240_000) if is_done else ([], 60_000))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_a_kill_at_any_statement_leaves_all_or_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    died = 0
    for number in count():
        url = new_url(request, tmp_path / str(number), database)
        await prepared(url)
        if not await killed(url, str(number)):
            break
        died += 1
        assert await left_by(url) in (([], 60_000), (IDS, 240_000))
    assert died >= STATEMENTS_MIN
