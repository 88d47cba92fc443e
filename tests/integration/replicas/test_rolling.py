"""Stores of one database are restarted in order, one after the other, while everybody works."""

import json
import logging
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.trial import FINISH_S_MAX
from tests.chaos.verdict import judge
from tests.integration.kill.processes import Process, until
from tests.integration.postgres import Server

pytestmark = pytest.mark.timeout(240)

STORES = 3
ENDED_BETWEEN = 20
"""Workflows that must come to their end between two restarts."""


@pytest.fixture
def cluster(tmp_path: Path, postgres_server: Server) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, postgres_server, stores=STORES)
    yield cluster
    cluster.close()


def test_a_rolling_restart_loses_nothing_and_costs_each_member_its_reconnects(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    load = Load(cluster.store_url, ledger, seed=random.getrandbits(32))
    caplog.set_level(logging.INFO, logger="holdfast.rpc.store")
    cluster.heal()

    load.start()
    for store in cluster.stores:
        until_more_ended(ledger)
        store.stop()
        until_more_ended(ledger)  # without the one that is away
        store.start()
        store.wait_ready()
    until_more_ended(ledger)
    load.finish(FINISH_S_MAX)
    verdict = judge(cluster, ledger, backwards=())

    assert not verdict.findings
    assert not verdict.again, "no body was entered twice"
    for member in cluster.members:
        assert_left_in_order(connections_of(member), broken=breaks_of(member))
    of_clients = [
        r for r in caplog.records if r.message in ("store_connected", "store_disconnected")
    ]
    assert [r for r in of_clients if r.message == "store_disconnected"] == []
    assert 2 <= len(of_clients) <= 2 * (1 + STORES), "two clients, each moved once for a restart"


def until_more_ended(ledger: Ledger) -> None:
    """Return when more workflows have come to their end."""
    before = ended(ledger)
    until(lambda: ended(ledger) >= before + ENDED_BETWEEN, "workflows came to their end")


def ended(ledger: Ledger) -> int:
    return sum(run.is_over for run in ledger.runs)


def assert_left_in_order(connections: Sequence[str], *, broken: Sequence[str]) -> None:
    """A member went elsewhere whenever its store was restarted, and at the first attempt."""
    assert not broken
    assert len(connections) <= 1 + STORES, connections
    assert all(a != b for a, b in pairwise(connections)), connections


def connections_of(member: Process) -> list[str]:
    """Which stores a member was connected to."""
    return [str(entry["store"]) for entry in _events(member, "store_connected")]


def breaks_of(member: Process) -> list[str]:
    """Streams that did not end in good order, and attempts that failed after the first stream.

    Before it there may be no store yet: everything starts at once.
    """
    connected_at = min(str(entry["ts"]) for entry in _events(member, "store_connected"))
    breaks = _events(member, "store_disconnected")
    return [str(entry) for entry in breaks if str(entry["ts"]) > connected_at]


def _events(member: Process, name: str) -> Iterator[dict[str, object]]:
    for line in member.log.read_text().splitlines():
        if f'"{name}"' in line:
            yield json.loads(line)
