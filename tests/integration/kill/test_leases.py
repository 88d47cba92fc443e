"""Leases of workers that cannot speak, and of workers that have no thread left to speak with."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast import Handle, Resonate
from tests.integration.kill.points import Plan, Visit
from tests.integration.kill.processes import Process, until
from tests.integration.kill.runs import OrderRun
from tests.integration.kill.system import System
from tests.integration.kill.verdict import assert_bodies
from tests.integration.kill.workflows import PATIENT, pipe_of

pytestmark = pytest.mark.timeout(120)

VERSIONS_MAX = 5  # of an order: one for its start, one for each of two waits, and two takeovers
TTL_MS = 1_000
LEASES_OUTLIVED = 2


@pytest.mark.parametrize(
    ("point", "step"),
    [
        ("after_step_body", ".0"),  # the body ran, and nobody knows
        ("before_write", ".0"),
        ("after_write", ".0"),
        ("after_suspend", ""),  # what comes next is pushed to a process that does not read
        ("after_step_body", ".2"),
        ("before_write", ".4"),  # the last step's outcome, and the run's, in one chain
    ],
)
def test_a_worker_that_was_stopped_past_its_lease_does_nothing_more(
    system: System, point: str, step: str
) -> None:
    run = OrderRun(system)
    points = system.points["worker"]
    plan = Plan(
        origin=run.promise_id,
        point=point,
        step_id=f"{run.promise_id}{step}",
        occurrence=1,
        signal=signal.SIGSTOP,
    )
    points.arm(plan)
    run.begin()
    hit = until(points.hit, f"a worker came to {point}")
    (stopped,) = [worker for worker in system.workers if worker.os_pid == hit.os_pid]
    (other,) = [worker for worker in system.workers if worker is not stopped]

    run.play()
    before = system.store_file.tree(run.promise_id)
    visited = len(points.visits())
    stopped.signal(signal.SIGCONT)
    # Only the continued worker is there now. It does the next order after what it may have wanted
    # to do for the first one.
    other.kill()
    next_run = OrderRun(system)
    next_run.begin()
    next_run.play()

    late = [v for v in points.visits()[visited:] if v.os_pid == stopped.os_pid]
    announced = {v.step_id for v in points.until_hit() if v.point == "after_write"}
    bodies = [v for v in late if v.point == "before_step_body"]
    # Stopped between the answer to its announcement and its body, a step goes on with the body.
    assert {v.step_id for v in bodies} <= announced, "it ran a body that nobody knew of"
    assert not acknowledged_writes(late), "its write was acknowledged without a lease"
    assert system.store_file.tree(run.promise_id) == before, "it wrote without a lease"
    versions = system.store_file.versions(run.promise_id)
    assert versions[run.promise_id] <= VERSIONS_MAX, "the stopped worker got it again and again"
    run.assert_effects()
    assert_bodies(system, run, [*points.until_hit(), *bodies])


def acknowledged_writes(visits: Sequence[Visit]) -> list[Visit]:
    """Acknowledgements of writes that were sent during these visits, and not before them."""
    sent: set[str] = set()
    found = []
    for visit in visits:
        match visit.point:
            case "before_write" | "before_fulfill":
                sent.add(visit.step_id)
            case "after_write" | "after_fulfill" if visit.step_id in sent:
                found.append(visit)
    return found


async def test_a_lease_is_kept_while_every_thread_is_in_a_step(
    system: System, tmp_path: Path
) -> None:
    busy, rival = (patient_worker(system, name) for name in ("busy", "rival"))
    ids = ["patient/1", "patient/2"]

    async with Resonate(system.store_url, group="test") as client:
        busy.start()
        busy.wait_ready()
        pipes = [new_pipe(tmp_path / i.replace("/", "-"), busy) for i in ids]
        handles = [await begin(client, i, tmp_path) for i in ids]
        for i in ids:
            await entered(system, i, busy)
        rival.start()
        rival.wait_ready()
        for i in ids:
            await kept(system, i, past_ms=lease_at_ms(system, i) + LEASES_OUTLIVED * TTL_MS)
        for pipe in pipes:
            pipe.write_text("go on")
        results = [await handle.result() for handle in handles]

    assert results == ["go on", "go on"]
    for i in ids:
        assert [a.os_pid for a in system.attempts.of(i)] == [busy.os_pid]
        assert system.store_file.versions(i)[i] == 1, "the task changed hands"


async def test_a_late_result_loses_to_whoever_holds_the_lease_now(
    system: System, tmp_path: Path
) -> None:
    late, heir = (patient_worker(system, name) for name in ("late", "heir"))
    promise_id = "patient/3"

    async with Resonate(system.store_url, group="test") as client:
        late.start()
        late.wait_ready()
        late_pipe = new_pipe(tmp_path / "patient-3", late)
        handle = await begin(client, promise_id, tmp_path)
        await entered(system, promise_id, late)
        late.signal(signal.SIGSTOP)
        heir.start()
        heir_pipe = new_pipe(tmp_path / "patient-3", heir)
        await entered(system, promise_id, heir)
        late.signal(signal.SIGCONT)
        late_pipe.write_text("too late")
        await eventually(lambda: "lease_lost" in late.tail(), "the late worker was refused")
        heir_pipe.write_text("in time")
        result = await handle.result()

    assert result == "in time"
    assert [a.os_pid for a in system.attempts.of(promise_id)] == [late.os_pid, heir.os_pid]
    # One more for each lease that lapsed before the heir was there to be given the task.
    assert system.store_file.versions(promise_id)[promise_id] >= 2


async def begin(client: Resonate, promise_id: str, folder: Path) -> Handle[str]:
    """Start a workflow whose step waits for a word."""
    pipe = str(folder / promise_id.replace("/", "-"))
    return await client.begin_rpc(promise_id, PATIENT, pipe, client.options(target="patient"))


def new_pipe(path: Path, process: Process) -> Path:
    """Make the pipe through which a test speaks to one process."""
    pipe = pipe_of(str(path), process.os_pid)
    os.mkfifo(pipe)
    return pipe


async def entered(system: System, promise_id: str, process: Process) -> None:
    """Return when a process has entered the step."""

    def has_entered() -> bool:
        return any(a.os_pid == process.os_pid for a in system.attempts.of(promise_id))

    await eventually(has_entered, f"{process.name} entered {promise_id}")


async def kept(system: System, task_id: str, *, past_ms: int) -> None:
    """Return when a lease lasts beyond an instant."""
    await eventually(lambda: lease_at_ms(system, task_id) > past_ms, f"{task_id} kept its lease")


async def eventually(look: Callable[[], bool], what: str) -> None:
    """Wait beside the event loop, on which a client lives."""
    await asyncio.to_thread(until, look, what)


def patient_worker(system: System, name: str) -> Process:
    """Describe a worker with two threads and short leases."""
    process = system.process(
        name,
        "worker",
        {
            "STORE_URL": system.store_url,
            "GROUP": "patient",
            "MODULES": "tests.integration.kill.workflows",
            "MAX_CONCURRENCY": "2",
            "LEASE_TTL_MS": str(TTL_MS),
            "ATTEMPTS_FILE": str(system.attempts.file),
        },
    )
    system.extra.append(process)
    return process


def lease_at_ms(system: System, task_id: str) -> int:
    task = system.store_file.task(task_id)
    assert task is not None
    assert task[3] is not None, f"{task_id} has no lease: {task}"
    return task[3]
