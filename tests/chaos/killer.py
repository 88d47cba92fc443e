"""Kills one process after the other at random instants, and starts again what is dead."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.chaos.cluster import Cluster
from tests.chaos.ledger import Ledger
from tests.integration.kill.processes import Process, until
from tests.integration.store_postgres.evidence import ask

LOOK_EVERY_S = 0.05
AWAY_S_MIN = 0.1
AWAY_S_MAX = 1.5
"""How long a killed process stays away, and one that ended by itself."""

STORE_PROGRAM = "holdfast-store"
"""What a store calls itself in a database's list of sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How often each kind is hit in proportion."""

    store: int = 4
    worker: int = 3
    db: int = 2
    postgres: int = 1
    session: int = 1


class Killer:
    """Hits processes of a cluster. Belongs to the main thread: children die with their starter."""

    def __init__(
        self, cluster: Cluster, ledger: Ledger, *, seed: int, weights: Weights | None = None
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._random = random.Random(seed)
        self._weights = weights or Weights()
        self._back_at: dict[str, float] = {}
        self._versions: dict[str, int] = {}
        self.backwards: list[str] = []
        """Tasks whose version went back or that vanished, as sentences."""
        self.ended: Counter[str] = Counter()
        """Processes that ended by themselves, by name and exit code."""

    def run(self, *, seconds: float, every_s: tuple[float, float], kills_min: int) -> None:
        """Kill something every few seconds, for as long as it is wanted, and so many at least."""
        end = time.monotonic() + seconds
        next_at = time.monotonic() + self._random.uniform(*every_s)
        while time.monotonic() < end or len(self._ledger.kills) < kills_min:
            if time.monotonic() >= next_at:
                self._kill_one()
                self.look_at_versions()
                next_at = time.monotonic() + self._random.uniform(*every_s)
            self._tend()
            time.sleep(LOOK_EVERY_S)

    def _kill_one(self) -> None:
        weights = self._weights
        acts: dict[Callable[[], None], int] = {
            lambda: self._kill("store", self._cluster.stores): weights.store,
            lambda: self._kill("worker", self._cluster.workers): weights.worker,
            lambda: self._kill("db", self._cluster.db_workers): weights.db,
            self._kill_server: weights.postgres,
            self._kill_session: weights.session,
        }
        [act] = self._random.choices([*acts], [*acts.values()])
        act()

    def _kill(self, kind: str, processes: Sequence[Process]) -> None:
        alive = [process for process in processes if process.is_alive]
        if alive:
            victim = self._random.choice(alive)
            victim.kill()
            self._ledger.killed(kind, victim.name, victim.os_pid)

    def _kill_server(self) -> None:
        self._ledger.killed("postgres", "postgres", 0)
        self._cluster.server.kill()
        time.sleep(self._random.uniform(0, 0.5))
        self._cluster.server.start()

    def _kill_session(self) -> None:
        server = self._cluster.server
        if server.kill_session(STORE_PROGRAM):
            self._ledger.killed("session", "session of a store", 0)
            server.wait_ready()

    def _tend(self) -> None:
        """Start what has been dead for long enough."""
        for process in self._cluster.processes:
            if process.is_alive:
                continue
            back_at = self._back_at.get(process.name)
            if back_at is None:
                if process.exit_code != -signal.SIGKILL:
                    self.ended[f"{process.name} ({process.exit_code})"] += 1
                away_s = self._random.uniform(AWAY_S_MIN, AWAY_S_MAX)
                self._back_at[process.name] = time.monotonic() + away_s
            elif time.monotonic() >= back_at:
                del self._back_at[process.name]
                process.start()

    def look_at_versions(self) -> None:
        """Compare each task with what it was at the last look."""
        rows = patiently(self._cluster, "SELECT id, version FROM tasks")
        now: dict[str, int] = {str(task_id): int(version) for task_id, version in rows}
        for task_id, version in self._versions.items():
            if now.get(task_id, -1) < version:
                found = f"version {now[task_id]}" if task_id in now else "nothing"
                self.backwards.append(f"task {task_id} had version {version} and has {found}")
        self._versions = now


def patiently(cluster: Cluster, statement: str) -> list[tuple[Any, ...]]:
    """Ask the store's database, which may be on its way back from a crash."""

    def answers() -> list[list[tuple[Any, ...]]]:
        try:
            return [ask(cluster.store_file.url, statement)]
        except psycopg.OperationalError:
            return []

    [rows] = until(answers, "the database answered", every_s=LOOK_EVERY_S)
    return rows
