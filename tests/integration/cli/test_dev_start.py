"""What `holdfast dev` refuses to start, and what it leaves behind: with stand-in processes."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast_cli.__main__ import main
from holdfast_cli.dev import STATE_FILE, running
from holdfast_cli.errors import CommandFailed
from holdfast_cli.lock import locked
from holdfast_cli.plan import Options, Plan
from holdfast_cli.ports import HOST, free_ports
from tests.integration.cli.stand_ins import Reader, StandIns


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server((HOST, next(free_ports()))) as server:
        yield server.getsockname()[1]


def plan_of(*processes: object) -> Plan:
    return Plan(
        processes=tuple(processes),  # type: ignore[arg-type]
        gateway=(),
        bridge=(),
        store=(),
    )


def test_a_busy_port_is_named_with_what_to_do(
    busy_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = busy_port - 2  # where the store is to listen

    code = main(["dev", "--data", str(tmp_path), "--port-base", str(base)])

    assert code == 1
    assert capsys.readouterr().err == (
        f"holdfast: Port {busy_port}, for store, is in use;"
        " stop what uses it, or choose other ports with --port-base.\n"
    )


def test_a_data_directory_is_for_one_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path):
        code = main(["dev", "--data", str(tmp_path), "--port-base", "0"])

    assert code == 1
    assert capsys.readouterr().err == (
        f"holdfast: Another holdfast dev (pid {os.getpid()}) already runs on {tmp_path};"
        " stop it, or choose another directory with --data.\n"
    )


def test_a_data_directory_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()

    code = main(["dev", "--data", str(file), "--port-base", "0"])

    assert code == 1
    assert f"The data directory {file} cannot be used: File exists." in capsys.readouterr().err


async def test_the_state_file_follows_the_processes_and_goes_with_them(tmp_path: Path) -> None:
    reader = Reader()
    the_plan = plan_of(StandIns(tmp_path).spec("store"))
    state = tmp_path / "data" / STATE_FILE

    async with running(Options(data=tmp_path / "data"), the_plan, output=reader) as system:
        first = json.loads(state.read_text())
        os.kill(first["pids"]["store"], signal.SIGKILL)
        await reader.seen("store is ready again")
        second = json.loads(state.read_text())

        assert first != second
        assert second == system.ready()
    assert not state.exists()


async def test_a_data_directory_ignores_itself(tmp_path: Path) -> None:
    the_plan = plan_of(StandIns(tmp_path).spec("store"))

    async with running(Options(data=tmp_path / "data"), the_plan, output=Reader()):
        pass

    assert (tmp_path / "data" / ".gitignore").read_text() == "*\n"


async def test_a_failed_start_stops_what_it_had_started(tmp_path: Path) -> None:
    stand_ins = StandIns(tmp_path)
    the_plan = plan_of(stand_ins.spec("store"), stand_ins.spec("gateway", "bad-settings", stage=1))

    with pytest.raises(CommandFailed, match="gateway"):
        async with running(Options(data=tmp_path / "data"), the_plan, output=Reader()):
            pytest.fail("started")

    assert stand_ins.stopped() == ["store"]
