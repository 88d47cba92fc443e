"""The worked traces of the protocol, §11.2 to §11.9.

Each runs twice: once with nothing but the operations, so that every answer comes from the
projection, and once with all background steps taken before every operation (B12).
"""

import pytest

from holdfast.core.records import EMPTY, Promise, Value
from holdfast.core.requests import (
    Done,
    PromiseGet,
    Refusal,
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskRelease,
)
from tests.unit.holdfast.core.build import (
    EXT,
    FAR,
    TGT,
    TMR,
    acquire,
    callback,
    create,
    done,
    fence,
    fulfill,
    heartbeat,
    listener,
    promise_of,
    seen,
    settle,
    status_of,
    suspend,
    task_create,
    task_of,
)
from tests.unit.holdfast.core.machine import Machine

W1 = "poll://any@w1"


class Trace:
    """Operations at instants, on a machine that sweeps before each of them or never by itself."""

    def __init__(self, *, sweeps: bool) -> None:
        self.machine = Machine()
        self._sweeps = sweeps

    def at(self, now_ms: int, request: Request) -> Done | Refusal:
        if self._sweeps:
            self.machine.tick(now_ms)
        return self.machine.do(request, now_ms=now_ms)

    def promise(self, now_ms: int, request: Request) -> Promise:
        return promise_of(self.at(now_ms, request))

    def task(self, now_ms: int, task_id: str) -> tuple[str, int, int, int | None, str | None]:
        return seen(task_of(self.at(now_ms, TaskGet(id=task_id))))

    def status(self, now_ms: int, request: Request) -> int:
        return status_of(self.at(now_ms, request))

    def executes(self, now_ms: int) -> set[tuple[str, int, str]]:
        """Deliver what waits at this instant."""
        self.machine.tick(now_ms)
        waiting = self.machine.executes()
        for task_id, _, _ in waiting:
            self.machine.claim(task_id, now_ms=now_ms)
        return waiting


@pytest.fixture(params=[False, True], ids=["projecting", "sweeping"])
def trace(request: pytest.FixtureRequest) -> Trace:
    return Trace(sweeps=request.param)


def test_create_duplicate_create_settle_and_resettle(trace: Trace) -> None:
    created = trace.promise(1000, create("a.p", EXT, param="MQ=="))

    assert created == Promise(
        id="a.p",
        param=Value(data=b"MQ=="),
        tags=EXT,
        timeout_at_ms=FAR,
        created_at_ms=1000,
        armed=True,
    )

    again = trace.promise(1010, create("a.p", timeout_at_ms=5, param="Mg=="))

    assert again == created, "nothing is compared"

    settled = trace.promise(1020, settle("a.p", "resolved", "NDI="))

    assert (settled.state, settled.settled_at_ms) == ("resolved", 1020)
    assert settled.value == Value(data=b"NDI=")
    assert settled.param == created.param

    absorbed = trace.promise(1030, settle("a.p", "rejected", "eA=="))
    created_again = trace.promise(1040, create("a.p"))

    assert absorbed == created_again == settled
    assert trace.status(1045, settle("a.p", "rejected_timedout")) == 400


def test_target_makes_a_task_that_is_fulfilled_and_found_again(trace: Trace) -> None:
    created = trace.promise(2000, create("b.x", TGT))

    assert (created.state, created.created_at_ms) == ("pending", 2000)
    assert trace.task(2000, "b.x") == ("pending", 0, 0, None, None)
    assert trace.executes(2000) == {("b.x", 0, W1)}

    won = done(trace.at(2010, acquire("b.x", 0)))
    lost = trace.status(2010, acquire("b.x", 0, pid="p2"))

    assert seen(task_of(won)) == ("acquired", 1, 0, 60_000, "p1")
    assert won.promise == created
    assert won.preload_of == "b.x"
    assert lost == 409
    assert trace.status(2015, task_create("b.x", pid="p2")) == 409

    settled = trace.promise(2020, fulfill("b.x", 1, "resolved", "MQ=="))

    assert (settled.state, settled.settled_at_ms) == ("resolved", 2020)
    assert settled.value == Value(data=b"MQ==")

    found = done(trace.at(2030, task_create("b.x", pid="p2")))

    assert seen(task_of(found)) == ("fulfilled", 1, 0, None, None)
    assert found.promise == settled
    assert found.preload_of is None
    assert trace.executes(2030) == set()


def test_suspend_resume_redirect_fulfil_and_unblock(trace: Trace) -> None:
    trace.promise(3000, create("c.a", EXT))
    trace.promise(3000, create("c.b", EXT))

    begun = done(trace.at(3000, task_create("c.x")))

    assert seen(task_of(begun)) == ("acquired", 1, 0, 60_000, "p1")
    assert trace.executes(3000) == set()

    assert trace.at(3100, suspend("c.x", 1, "c.a", "c.b")) == Done()
    assert trace.task(3110, "c.x") == ("suspended", 1, 0, None, None)
    assert trace.promise(3120, listener("c.x", "poll://uni@g/p9")).state == "pending"

    settled = trace.promise(3200, settle("c.b", "resolved", "Mg=="))

    assert (settled.state, settled.settled_at_ms) == ("resolved", 3200)
    assert trace.task(3210, "c.x") == ("pending", 1, 1, None, None), "any member wakes"
    assert trace.executes(3210) == {("c.x", 1, W1)}

    resumed = task_of(trace.at(3220, acquire("c.x", 1, pid="p2")))

    assert seen(resumed) == ("acquired", 2, 0, 60_000, "p2")

    late = trace.promise(3230, settle("c.a"))

    assert (late.state, late.settled_at_ms) == ("resolved", 3230)
    assert trace.task(3240, "c.x") == ("acquired", 2, 1, 60_000, "p2"), "buffered"

    redirect = trace.at(3250, suspend("c.x", 2, "c.a"))

    assert redirect == Done(status=300, preload_of="c.x")
    assert trace.task(3260, "c.x") == ("acquired", 2, 0, 60_000, "p2")

    finished = trace.promise(3270, fulfill("c.x", 2, "resolved", "Mw=="))

    assert (finished.state, finished.settled_at_ms) == ("resolved", 3270)
    assert trace.machine.take_unblocks(now_ms=3270) == [("poll://uni@g/p9", finished)]


def test_lease_expiry_stale_version_halt_and_continue(trace: Trace) -> None:
    trace.promise(4000, create("d.x", TGT))
    task = task_of(trace.at(4000, acquire("d.x", 0, ttl_ms=100)))

    assert seen(task) == ("acquired", 1, 0, 100, "p1")
    assert trace.machine.task("d.x").lease_at_ms == 4100

    assert trace.at(4050, heartbeat("p1", ("d.x", 1))) == Done()
    assert trace.machine.task("d.x").lease_at_ms == 4150

    trace.machine.tick(4149)
    assert trace.task(4149, "d.x") == ("acquired", 1, 0, 100, "p1")

    trace.machine.tick(4150)
    assert trace.task(4150, "d.x") == ("pending", 1, 0, None, None)
    assert trace.executes(4150) == {("d.x", 1, W1)}

    assert trace.status(4160, fulfill("d.x", 1)) == 409, "old holder"
    assert trace.at(4165, heartbeat("p1", ("d.x", 1))) == Done()
    assert trace.task(4165, "d.x") == ("pending", 1, 0, None, None)
    assert seen(task_of(trace.at(4170, acquire("d.x", 1, pid="p2"))))[:2] == ("acquired", 2)
    assert trace.status(4180, TaskRelease(id="d.x", version=1)) == 409, "stale version"
    assert trace.at(4190, TaskRelease(id="d.x", version=2)) == Done()
    assert trace.task(4195, "d.x") == ("pending", 2, 0, None, None)
    assert trace.at(4200, TaskHalt(id="d.x")) == Done()
    assert trace.status(4205, acquire("d.x", 2, pid="p2", ttl_ms=1)) == 409
    assert trace.at(4210, TaskContinue(id="d.x")) == Done()
    assert trace.status(4215, TaskContinue(id="d.x")) == 409


def test_deadline(trace: Trace) -> None:
    trace.promise(5000, create("e.x", TGT, timeout_at_ms=5100))
    assert seen(task_of(trace.at(5010, acquire("e.x", 0))))[:2] == ("acquired", 1)
    assert trace.promise(5099, PromiseGet(id="e.x")).state == "pending"

    dead = trace.promise(5100, PromiseGet(id="e.x"))

    assert dead.state == "rejected_timedout"
    assert (dead.created_at_ms, dead.settled_at_ms, dead.timeout_at_ms) == (5000, 5100, 5100)
    assert dead.value == EMPTY
    assert trace.task(5100, "e.x") == ("fulfilled", 1, 0, None, None)

    late = trace.promise(5110, settle("e.x", "resolved", "MQ=="))

    assert (late.state, late.value, late.settled_at_ms) == ("rejected_timedout", EMPTY, 5100)
    assert trace.status(5120, fulfill("e.x", 1)) == 409
    assert trace.status(5130, TaskHalt(id="e.x")) == 409

    stillborn = trace.promise(5200, create("e.y", TGT, timeout_at_ms=5000))

    assert stillborn.state == "rejected_timedout"
    assert stillborn.created_at_ms == stillborn.settled_at_ms == stillborn.timeout_at_ms == 5000
    assert trace.task(5200, "e.y") == ("fulfilled", 0, 0, None, None)
    assert trace.executes(5200) == set()


def test_timer(trace: Trace) -> None:
    trace.promise(6000, create("f.s", TMR, timeout_at_ms=6500))
    assert seen(task_of(trace.at(6000, task_create("f.x"))))[:2] == ("acquired", 1)
    assert trace.at(6010, suspend("f.x", 1, "f.s")) == Done()

    assert trace.executes(6500) == {("f.x", 1, W1)}

    assert trace.task(6500, "f.x") == ("pending", 1, 1, None, None)
    rung = trace.promise(6600, PromiseGet(id="f.s"))
    assert (rung.state, rung.value, rung.settled_at_ms) == ("resolved", EMPTY, 6500)
    assert trace.status(6700, create("f.bad", TMR | TGT, timeout_at_ms=9000)) == 400


def test_edge_cases_of_callbacks_and_listeners(trace: Trace) -> None:
    trace.promise(7000, create("g.a", EXT))
    trace.promise(7000, create("g.i"))
    trace.promise(7000, create("g.x", TGT))
    settled = trace.promise(7010, settle("g.a"))

    assert trace.promise(7020, callback("g.a", "g.x")) == settled
    assert trace.task(7030, "g.x") == ("pending", 0, 0, None, None), "no effect"

    assert trace.status(7040, callback("g.i", "g.x")) == 422, "internal awaited"
    assert trace.status(7040, callback("g.zz", "g.x")) == 404, "awaited missing"
    assert trace.status(7040, callback("g.a", "g.i")) == 422, "awaiter untargeted"
    assert trace.status(7040, callback("g.a", "g.a")) == 400

    assert trace.promise(7050, listener("g.a", "poll://uni@g/p")) == settled
    assert trace.machine.take_unblocks(now_ms=7050) == [], "the answer is the message"
    assert trace.status(7060, listener("g.i", "poll://uni@g/p")) == 422
    assert trace.status(7060, listener("g.a", "not a url")) == 400


def test_fence(trace: Trace) -> None:
    assert seen(task_of(trace.at(8000, task_create("h.x"))))[:2] == ("acquired", 1)

    created = done(trace.at(8010, fence("h.x", 1, create("h.x.1"))))
    settled = done(trace.at(8020, fence("h.x", 1, settle("h.x.1", "resolved", "MQ=="))))
    missing = done(trace.at(8030, fence("h.x", 1, settle("h.x.9"))))

    child = promise_of(created.action)
    assert (child.id, child.state, child.created_at_ms) == ("h.x.1", "pending", 8010)
    child = promise_of(settled.action)
    assert (child.state, child.settled_at_ms) == ("resolved", 8020)
    assert status_of(missing.action) == 404
    assert created.status == settled.status == missing.status == 200
    assert created.preload_of == "h.x"

    assert trace.status(8040, fence("h.x", 7, create("h.x.2"))) == 409
    assert trace.status(8045, PromiseGet(id="h.x.2")) == 404, "inner not executed"
    assert trace.status(8050, fence("h.x", 1, settle("h.x"))) == 400
