"""What is true after everything was killed: nothing lost, nothing doubled, nothing left to do."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from holdfast import Resonate
from holdfast.errors import PromiseNotFound
from holdfast.promises import DurablePromise
from tests.chaos.cluster import LEASE_TTL_MS, Cluster
from tests.chaos.ledger import Ledger, Record, Run
from tests.chaos.load import TOTAL
from tests.integration.kill.processes import ROOT, until
from tests.integration.store_postgres.evidence import ask

SHOWN_MAX: Final = 20
QUIET_S_MAX: Final = 60.0
"""How long the last timers and leases may take to run out."""

UNFINISHED: Final = """
SELECT 'task', id, state || ', version ' || version FROM tasks WHERE state <> 'fulfilled'
UNION ALL
SELECT 'promise', id, state FROM promises WHERE state = 'pending' AND NOT starts_with(id, 'record/')
ORDER BY 1, 2
"""
"""Nothing of a workflow is pending once it has ended, or was canceled; records may be."""


@dataclass(slots=True)
class Verdict:
    """Findings are sentences; none of the lists may hold one."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Bodies that ran again although nothing happened to their worker or its lease."""
    undone: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    """Bodies that ran again, by what explains it."""
    bodies: int = 0
    check: str = ""

    @property
    def findings(self) -> list[str]:
        """Everything that is not as it must be."""
        every = (self.lost, self.doubled, self.unexplained, self.undone, self.wrong)
        return [sentence for sentences in every for sentence in sentences]


def judge(cluster: Cluster, ledger: Ledger, *, backwards: Sequence[str]) -> Verdict:
    """Look at everything that is left. All processes run, and no client asks for more."""
    verdict = Verdict(wrong=[*ledger.wrong, *backwards])
    verdict.undone += _undone(cluster)
    asyncio.run(_compare(cluster.store_url, ledger, verdict))
    _judge_effects(cluster, ledger, verdict)
    _judge_bodies(cluster, ledger, verdict)
    verdict.check = _check(cluster.store_file.url, verdict)
    return verdict


def _undone(cluster: Cluster) -> list[str]:
    """List what is still due, held, waited for or slept through: every workflow has ended."""
    left: list[Any] = []

    def is_quiet() -> bool:
        left[:] = ask(cluster.store_file.url, UNFINISHED)
        return not left

    try:
        until(is_quiet, "everything came to its end", deadline_s=QUIET_S_MAX, every_s=0.2)
    except AssertionError:
        return [f"{kind} {i} is {state}" for kind, i, state in left]
    return []


async def _compare(url: str, ledger: Ledger, verdict: Verdict) -> None:
    """Compare what the store has with what clients were told."""
    async with Resonate(url, group="verdict") as client:
        for run in ledger.runs:
            verdict.lost += _flaws_of_run(run, await _find(client, run.promise_id))
        for record in ledger.records:
            verdict.lost += _flaws_of_record(record, await _find(client, record.promise_id))


async def _find(client: Resonate, promise_id: str) -> DurablePromise | None:
    try:
        return await client.promises.get(promise_id)
    except PromiseNotFound:
        return None


def _flaws_of_run(run: Run, found: DurablePromise | None) -> Iterator[str]:
    if found is None:
        if run.begun:
            yield f"{run.promise_id} was acknowledged and is missing"
    elif not run.is_over or found.is_pending:
        yield f"{run.promise_id} never came to its end: it is {found.state}"
    elif run.kind == "canceled":
        if found.state != "rejected_canceled":
            yield f"{run.promise_id} was canceled and is {found.state}"
    elif found.value != run.told:
        yield f"{run.promise_id} is {found.value!r}, and a client was told {run.told!r}"


def _flaws_of_record(record: Record, found: DurablePromise | None) -> Iterator[str]:
    name = record.promise_id
    if found is None:
        if record.created or record.told:
            yield f"{name} was acknowledged and is missing"
        return
    if found.param != record.param:
        yield f"{name} holds {found.param!r}, not {record.param!r}"
    if record.told and record.told != {found.value}:
        yield f"{name} is {found.value!r}, and clients were told {sorted(record.told)}"
    if not found.is_pending and found.value not in record.values:
        yield f"{name} is {found.value!r}, which nobody sent"


def _judge_effects(cluster: Cluster, ledger: Ledger, verdict: Verdict) -> None:
    """Count what orders left in the application's books."""
    url = cluster.books.url
    charges = _by_key(ask(url, "SELECT order_id, total_cents FROM charges"))
    reservations = _by_key(ask(url, "SELECT order_id, items FROM reservations"))
    for run in ledger.runs:
        if run.kind != "order" or not run.is_over:
            continue
        order_id = run.promise_id.removeprefix("order/")
        for what, rows, value in (
            ("charged", charges[order_id], TOTAL),
            ("reserved", reservations[order_id], 2),
        ):
            if len(rows) > 1:
                verdict.doubled.append(f"{order_id} was {what} {len(rows)} times")
            elif rows != [value]:
                verdict.lost.append(f"{order_id} was {what} as {rows}, not [{value}]")


def _by_key(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for key, value in rows:
        found[key].append(value)
    return found


def _judge_bodies(cluster: Cluster, ledger: Ledger, verdict: Verdict) -> None:
    """Find for each body that ran again what made it run again."""
    killed = {kill.os_pid: kill.at_ms for kill in ledger.kills}
    outages = [kill.at_ms for kill in ledger.kills if kill.kind not in ("worker", "db")]
    lost_leases = _lost_leases(cluster)
    entries: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in cluster.attempts.file.read_text().splitlines():
        entry = json.loads(line)
        entries[entry["id"]].append(entry)
    for step_id, entered in entries.items():
        verdict.bodies += len(entered)
        for before, after in pairwise(entered):
            reason = _reason(before, after, killed, outages, lost_leases)
            verdict.again[reason or "nothing"] += 1
            if reason is None:
                verdict.unexplained.append(f"{step_id} ran again for no reason: {before}, {after}")


def _reason(
    before: dict[str, Any],
    after: dict[str, Any],
    killed: Mapping[int, int],
    outages: Sequence[int],
    lost_leases: AbstractSet[str],
) -> str | None:
    """Say why a body that was entered is entered again."""
    if after["attempt"] > before["attempt"]:
        return "it failed and was tried again"
    died_at_ms = killed.get(before["os_pid"])
    if died_at_ms is not None and before["at_ms"] <= died_at_ms <= after["at_ms"]:
        return "its worker was killed"
    if not lost_leases.isdisjoint(_tasks_above(before["id"])):
        return "its lease was lost"
    # A write that was on its way when a store died may find its lease gone, and says nothing.
    reach_ms = before["at_ms"] - LEASE_TTL_MS
    if any(reach_ms <= at_ms <= after["at_ms"] for at_ms in outages):
        return "a store or its database was killed meanwhile"
    return None


def _tasks_above(step_id: str) -> list[str]:
    """Name every task that a step may belong to."""
    parts = step_id.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _lost_leases(cluster: Cluster) -> set[str]:
    """Find the tasks whose lease a process said that it had lost."""
    found = set()
    for process in cluster.members:
        for line in process.log.read_text(errors="replace").splitlines():
            if '"lease_lost"' in line:
                found.add(str(json.loads(line)["promise_id"]))
    return found


def _check(url: str, verdict: Verdict) -> str:
    """Have the store's own command judge the database."""
    ran = subprocess.run(
        [sys.executable, "-m", "holdfast_store", "check", "--database-url", url],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        verdict.wrong.append(f"check ended with {ran.returncode}: {ran.stdout}{ran.stderr[-2000:]}")
    return ran.stdout.strip().splitlines()[-1] if ran.stdout.strip() else ""


def exits_of(ended: Counter[str]) -> list[str]:
    """List processes that ended by themselves in a way that only a defect explains.

    A store or a db worker that finds no database at its start says so and ends with 1.
    """
    allowed = ("(1)", f"({-signal.SIGKILL})")
    excused = [name for name in ended if name.endswith(allowed) and not name.startswith("worker")]
    return [
        f"{name} ended by itself, {n} times" for name, n in ended.items() if name not in excused
    ]
