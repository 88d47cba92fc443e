"""`holdfast dev` with the real processes: an order end to end, kills, stops."""

import os
import signal
from pathlib import Path

import pytest

from holdfast_cli.demo.journal import Journal
from holdfast_cli.ports import refusal
from tests.integration.cli.real import DONE, dev, holdfast, ports_of
from tests.integration.cli.stand_ins import ended, lives
from tests.integration.postgres import query

pytestmark = pytest.mark.timeout(150)  # five interpreters start, on what may be a busy machine


async def test_the_ready_line_names_everything_and_an_order_goes_through(tmp_path: Path) -> None:
    async with dev(tmp_path, "--workers", "2") as system:
        await system.place_order()
        status = await system.order_is_done()
        code, table = await holdfast("queues", "--data", str(tmp_path), folder=tmp_path)

        assert code == 0, table
        assert [line.split()[0] for line in table.splitlines()] == [
            "group",
            "db",
            "worker",
            "workers",
        ]
        names = {"store", "gateway", "worker-1", "worker-2", "db"}
        assert set(system.ready["pids"]) == set(system.ready["metrics"]) == names
        assert all(map(lives, system.ready["pids"].values()))
        assert [len(system.ready[kind]) for kind in ("gateway", "bridge", "store")] == [1, 1, 1]
    assert status == DONE


async def test_tables_on_a_server_are_made_before_its_stores_start(
    bare_postgres_url: str, tmp_path: Path
) -> None:
    """Stores that share a database never make them; whoever takes first steps should not need to.

    The store of each client is the first one, until that is gone.
    """
    flags = ("--database-url", bare_postgres_url, "--stores", "2")
    async with dev(tmp_path, *flags) as system:
        await system.place_order()
        status = await system.order_is_done()

        assert {"store-1", "store-2"} < set(system.ready["pids"])
    found = query(bare_postgres_url, "SELECT DISTINCT state FROM promises")

    assert status == DONE
    assert ("resolved",) in found


async def test_a_database_that_cannot_be_migrated_is_named_and_nothing_starts(
    tmp_path: Path,
) -> None:
    arguments = ("dev", "--port-base", "0", "--database-url", "postgresql://u:secret@127.0.0.1:1/d")

    code, output = await holdfast(*arguments, folder=tmp_path)

    assert code == 1
    assert "The database cannot be used: PostgreSQL at 127.0.0.1:1/d" in output
    assert "starting" not in output
    assert "secret" not in output


@pytest.mark.parametrize("victim", ["store", "gateway", "worker", "db"])
async def test_an_order_survives_the_death_of_each_process(victim: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    settings = {**journal.settings, "HOLDFAST_DB_STEP_DELAY_MS": "1000"}

    async with dev(tmp_path / "data", **settings) as system:
        await system.place_order()
        await journal.begun("reserveInventory")
        killed = system.pids[victim]
        os.kill(killed, signal.SIGKILL)
        again = await system.reader.seen(rf"{victim} runs again, pid (\d+)")
        status = await system.order_is_done()

    assert status == DONE
    assert int(again[1]) != killed
    once = journal.runs()
    assert once["validateOrder"] == once["chargePayment"] == once["sendConfirmation"] == 1
    if victim != "db":  # the body that dies with its process is begun again
        assert once["reserveInventory"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything_in_order(number: signal.Signals, tmp_path: Path) -> None:
    async with dev(tmp_path) as system:
        pids = system.pids.values()
        system.process.send_signal(number)
        code = await system.process.wait()

        assert code == 0
        assert not any(map(lives, pids))
        assert [refusal(port) for port in ports_of(system.ready)] == [None] * 7
        assert not (tmp_path / "dev.json").exists()
        assert "killed" not in "\n".join(system.reader.lines)  # each ended by itself


async def test_killing_dev_leaves_nothing_and_the_next_run_finds_the_data(tmp_path: Path) -> None:
    async with dev(tmp_path) as first:
        await first.place_order()
        await first.order_is_done()
        pids = first.pids.values()
        first.process.kill()
        await ended(*pids)

    async with dev(tmp_path) as second:
        status = await second.order_is_done()

    assert status == DONE
