"""`holdfast promises`, `tasks` and `schedules` against a store of its own process."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from holdfast import Context, Resonate
from tests.integration.cli.real import holdfast
from tests.integration.library.world import StoreProcess


class Cli:
    """Runs commands against one store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder

    async def __call__(self, *arguments: str) -> tuple[int, str]:
        return await holdfast(*arguments, "--store", self.url, folder=self._folder)

    async def record(self, *arguments: str) -> dict[str, Any]:
        code, output = await self(*arguments)
        assert code == 0, output
        record: dict[str, Any] = json.loads(output)
        return record


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    with StoreProcess.running(tmp_path) as store:
        yield Cli(store.url, tmp_path)


async def state_is(resonate: Resonate, task_id: str, state: str) -> None:
    """Return when a task is in a state, which nobody announces."""
    while (await resonate.tasks.get(task_id)).state != state:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_promises_are_shown_and_settled(cli: Cli) -> None:
    async with Resonate(cli.url, env={}) as resonate:
        for name in ("a", "b", "c"):
            await resonate.promises.create(f"gate/{name}", data={"for": name})

        shown = await cli.record("promises", "get", "gate/a")
        resolved = await cli.record("promises", "resolve", "gate/a", "--value", '{"ok": [1, "ä"]}')
        rejected = await cli.record("promises", "reject", "gate/b", "--value", '"no"')
        canceled = await cli.record("promises", "cancel", "gate/c")
        value = await (await resonate.get("gate/a")).result()

    assert (shown["state"], shown["param"]) == ("pending", {"for": "a"})
    assert (resolved["state"], resolved["value"]) == ("resolved", {"ok": [1, "ä"]})
    assert (rejected["state"], rejected["value"]["message"]) == ("rejected", "no")
    assert canceled["state"] == "rejected_canceled"
    assert value == {"ok": [1, "ä"]}


async def test_canceling_takes_children_along(cli: Cli) -> None:
    async with Resonate(cli.url, env={}, group="workers") as resonate:

        @resonate.register
        def parent(ctx: Context) -> Any:
            yield (yield ctx.begin_rpc("nobody", ctx.options(target="nowhere", id="child")))

        await resonate.begin_run("parent", parent)
        await state_is(resonate, "parent", "suspended")

        await cli.record("promises", "cancel", "parent")

        assert (await resonate.promises.get("child")).state == "rejected_canceled"


async def test_a_halted_task_goes_on_once_it_is_continued(cli: Cli) -> None:
    """What an operator does after a panic: mend the cause, then continue."""
    mended = False
    async with Resonate(cli.url, env={}, group=f"group-{uuid4().hex}") as resonate:

        @resonate.register
        def careful(ctx: Context) -> Any:
            yield ctx.panic(not mended, "the books do not balance")
            return "done"

        handle = await resonate.begin_run("books", careful)
        await state_is(resonate, "books", "halted")
        shown = await cli.record("tasks", "get", "books")
        mended = True
        continued = await cli.record("tasks", "continue", "books")

        assert await handle.result(timeout=20) == "done"
    assert (shown["state"], shown["pid"]) == ("halted", None)
    assert continued["state"] in {"pending", "acquired", "fulfilled"}


async def test_a_task_that_is_halted_by_hand_is_given_to_nobody(cli: Cli) -> None:
    async with Resonate(cli.url, env={}) as resonate:
        await resonate.begin_rpc("later", "nobody")

        halted = await cli.record("tasks", "halt", "later", "--reason", "first ask accounting")

    assert halted["state"] == "halted"


async def test_schedules_are_listed_paused_resumed_and_deleted(cli: Cli) -> None:
    async with Resonate(cli.url, env={}) as resonate:
        for name, team in (("nightly", "a"), ("weekly", "b")):
            await resonate.schedules.create(name, "0 3 * * *", tags={"team": team}, tz="Asia/Tokyo")

        found = await cli.record("schedules", "search", "--tags", '{"team": "a"}')
        paused = await cli.record("schedules", "pause", "nightly")
        shown = await cli.record("schedules", "get", "nightly")
        resumed = await cli.record("schedules", "resume", "nightly")
        deleted = await cli.record("schedules", "delete", "nightly")
        left = (await resonate.schedules.search()).schedules

    assert [each["id"] for each in found["schedules"]] == ["nightly"]
    assert (shown["cron"], shown["tz"]) == ("0 3 * * *", "Asia/Tokyo")
    assert [each["paused"] for each in (*found["schedules"], paused, shown, resumed)] == [
        *(False, True, True, False)
    ]
    assert deleted["id"] == "nightly"
    assert [each.id for each in left] == ["weekly"]


async def test_records_are_found_page_by_page(cli: Cli) -> None:
    async with Resonate(cli.url, env={}) as resonate:
        for name in ("a", "b", "c"):
            await resonate.promises.create(name, tags={"team": "x" if name != "b" else "y"})
        await resonate.begin_rpc("later", "nobody")

        first = await cli.record("promises", "search", "--tags", '{"team": "x"}', "--limit", "1")
        second = await cli.record(
            *("promises", "search", "--tags", '{"team": "x"}', "--cursor", first["cursor"])
        )
        tasks = await cli.record("tasks", "search", "--state", "pending")

    assert [each["id"] for each in (*first["promises"], *second["promises"])] == ["a", "c"]
    assert second["cursor"] is None
    assert [each["id"] for each in tasks["tasks"]] == ["later"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["promises", "get", "nothing"], 1, "(promise_not_found)"),
        (["tasks", "get", "nothing"], 1, "(task_not_found)"),
        (["tasks", "continue", "pending"], 1, "(task_not_halted)"),
        (["promises", "resolve", "pending", "--value", "{"], 2, "--value: must be JSON"),
        (["promises", "get"], 2, "required: ID"),
        (["promises", "search", "--tags", "[]"], 2, "--tags: must be a JSON object of texts"),
        (["promises", "search", "--tags", '{"a": 1}'], 2, "--tags: must be a JSON object of texts"),
        (["tasks", "search", "--limit", "1001"], 2, "must be a whole number from 1 to 1000"),
        (["tasks", "search", "--state", "done"], 2, "--state: invalid choice"),
        (["tasks", "retry", "x"], 2, "'retry' is not a command"),
        (["schedules", "delete", "nothing"], 1, "(schedule_not_found)"),
        (["schedules", "search", "--state", "paused"], 2, "'--state' is not understood"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(
    cli: Cli, arguments: list[str], code: int, sentence: str
) -> None:
    async with Resonate(cli.url, env={}) as resonate:
        await resonate.begin_rpc("pending", "nobody")

    answer, output = await cli(*arguments)

    assert answer == code
    assert sentence in output
    assert "Traceback" not in output


async def test_an_address_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    code, output = await holdfast(
        *("tasks", "get", "x", "--store", "http://127.0.0.1:8001"), folder=tmp_path
    )

    assert code == 2
    assert "--store is 'http://127.0.0.1:8001'" in output
