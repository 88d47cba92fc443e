"""Functions that the clock starts, through the library, on every store."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from holdfast import Constant, Context, IdempotencyConflict, Resonate, blocking
from holdfast.errors import InvalidRequest, ScheduleNotFound
from tests.integration.library.world import World

EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 29 2 *"


async def last_run(resonate: Resonate, schedule_id: str, *, at_least_ms: int = 0) -> int:
    """Wait until a schedule has fired for an instant, and answer the last one."""
    while True:
        at_ms = (await resonate.schedules.get(schedule_id)).last_run_at_ms
        if at_ms is not None and at_ms >= at_least_ms:
            return at_ms
        await asyncio.sleep(0.02)


async def test_a_function_is_called_at_its_planned_instants(world: World) -> None:
    calls: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()
    resonate = world.client()

    @resonate.register
    def report(ctx: Context, region: str, *, pages: int) -> str:
        calls.put_nowait((ctx.id, region, pages))
        return f"{region}: {pages}"

    name = world.new_id("report")
    schedule = await resonate.schedule(name, EVERY_SECOND, report, "north", pages=3)
    first, second = await calls.get(), await calls.get()
    await schedule.delete()

    instants = [int(run_id.removeprefix(f"{name}.")) for run_id, *_ in (first, second)]
    assert schedule.created
    assert {first[1:], second[1:]} == {("north", 3)}
    assert [at_ms % 1000 for at_ms in instants] == [0, 0]
    assert instants[0] < instants[1]
    handle = await resonate.get(first[0])
    assert await handle.result() == "north: 3"
    run = await resonate.promises.get(first[0])
    assert run.created_at_ms == instants[0]
    assert run.tags["resonate:schedule"] == name


async def test_a_schedule_is_made_once_and_found_again(world: World) -> None:
    resonate = world.client()
    name = world.new_id("plan")
    options = resonate.options(
        target="elsewhere", timeout=timedelta(minutes=5), tags={"team": name}
    )
    made = await options.schedule(name, "30 3 * * mon-fri", "report", 1, tz="Europe/Berlin")

    again = await resonate.schedule(name, "0 0 * * *", "other")
    seen = await again.get()

    assert (made.created, again.created) == (True, False)
    assert (seen.id, seen.cron, seen.tz) == (name, "30 3 * * mon-fri", "Europe/Berlin")
    assert seen.promise_id == "{{.id}}.{{.timestamp}}"
    assert seen.promise_timeout_ms == 300_000
    assert seen.tags == {"resonate:target": "poll://any@elsewhere", "team": name}
    assert (seen.param["func"], seen.param["args"]) == ("report", [1])
    found = await resonate.schedules.search(tags={"team": name})
    assert [each.id for each in found.schedules] == [name]
    assert found.cursor is None
    with pytest.raises(IdempotencyConflict, match="cron"):
        await resonate.options(on_conflict="raise").schedule(name, "0 0 * * *", "other")
    await again.delete()
    with pytest.raises(ScheduleNotFound):
        await made.get()


async def test_a_paused_schedule_starts_nothing_but_what_is_triggered(world: World) -> None:
    resonate = world.client()

    @resonate.register
    def report(ctx: Context) -> str:
        return ctx.id

    name = world.new_id("report")
    schedule = await resonate.schedule(name, NEVER_SOON, report)
    assert (await schedule.pause()).paused

    run = await schedule.trigger()

    assert await run.result() == run.id
    assert run.id.startswith(f"{name}.")
    assert (await schedule.get()).last_run_at_ms is None
    assert not (await schedule.resume()).paused
    await schedule.delete()


async def test_the_retry_policy_goes_along(world: World) -> None:
    resonate = world.client()
    tries: list[int] = []

    @resonate.register
    def flaky(ctx: Context) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return len(tries)

    options = resonate.options(retry_policy=Constant(delay=0.01, max_retries=5))
    schedule = await options.schedule(world.new_id("flaky"), NEVER_SOON, flaky)

    run = await schedule.trigger()

    assert await run.result() == 3
    await schedule.delete()


async def test_promises_are_scheduled_without_a_function(world: World) -> None:
    resonate = world.client(prefix="acme")
    name = world.new_id("gate")
    made = await resonate.schedules.create(
        name,
        EVERY_SECOND,
        "acme:gate/{{.timestamp}}/{{.id}}",
        timeout=60,
        target="nobody",
        data={"approve": True},
        tags={"kind": "gate"},
    )

    fired_ms = await last_run(resonate, name)
    await resonate.schedules.delete(name)

    assert made.id == f"acme:{name}"
    promise = await resonate.promises.get(f"acme:gate/{fired_ms}/acme:{name}")
    assert promise.param == {"approve": True}
    assert promise.timeout_at_ms == promise.created_at_ms + 60_000


async def test_what_means_nothing_is_named(world: World) -> None:
    resonate = world.client()
    name = world.new_id("bad")

    with pytest.raises(InvalidRequest, match="cron must have five fields") as bad_cron:
        await resonate.schedule(name, "daily", "report")
    with pytest.raises(InvalidRequest, match="never occurs"):
        await resonate.schedule(name, "0 0 30 2 *", "report")
    with pytest.raises(InvalidRequest, match="time_zone must be the IANA name") as bad_zone:
        await resonate.schedule(name, "0 0 * * *", "report", tz="Berlin")
    with pytest.raises(ValueError, match="delay"):
        await resonate.options(delay=1).schedule(name, "0 0 * * *", "report")
    with pytest.raises(ScheduleNotFound):
        await resonate.schedules.pause(name)

    assert (bad_cron.value.code, bad_zone.value.code) == ("invalid_cron", "invalid_time_zone")


async def test_a_store_that_was_away_across_two_fires_catches_both_up(durable: World) -> None:
    before = durable.client()
    name = f"nightly-report-{uuid4().hex}"
    await before.schedule(name, EVERY_SECOND, "report_for", before.options(target="reports"))
    first_ms = await last_run(before, name)
    await before.stop()
    await asyncio.sleep(2.1)  # that it is away for so long is what is tested

    after = durable.client()
    await last_run(after, name, at_least_ms=first_ms + 2_000)
    await after.schedules.delete(name)

    for at_ms in (first_ms + 1_000, first_ms + 2_000):
        missed = await after.promises.get(f"{name}.{at_ms}")
        assert missed.created_at_ms == at_ms


def test_schedules_without_an_event_loop(tmp_path_factory: pytest.TempPathFactory) -> None:
    with blocking.Resonate(embedded=":memory:", env={}) as resonate:

        @resonate.register
        def report(ctx: Context) -> str:
            return "done"

        schedule = resonate.schedule("report", NEVER_SOON, report)
        run = schedule.trigger()

        assert run.result() == "done"
        assert schedule.pause().paused
        assert not schedule.resume().paused
        assert schedule.get() == resonate.schedules.get("report")
        assert resonate.schedules.trigger("report").result() == "done"
        schedule.delete()
        with pytest.raises(ScheduleNotFound):
            schedule.get()
