"""The demos, as `make demo` and people start them."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.integration.cli.real import DONE, dev, holdfast
from tests.integration.cli.stand_ins import lives

pytestmark = pytest.mark.timeout(150)  # five interpreters start, on what may be a busy machine


async def test_the_first_order_survives_its_worker_and_leaves_nothing(tmp_path: Path) -> None:
    code, output = await holdfast("demo", "first-order", folder=tmp_path)

    assert code == 0, output
    assert json.dumps(DONE, indent=2) in output.replace("\n          ", "\n")
    assert "every step ran, and none ran twice" in output
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a read of one directory may block


async def test_a_demo_whose_reader_leaves_stops_everything_quietly(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast_cli", "demo", "first-order"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout
    assert process.stderr
    pids: list[int] = []
    while not pids:
        line = (await process.stdout.readline()).decode()
        assert line, (await process.stderr.read()).decode()
        if line.endswith("(process ids)\n"):
            pids = [int(number) for number in re.findall(r" (\d+)(?:,|  )", line)]

    process.stdout._transport.close()  # type: ignore[attr-defined] # as `| head` does
    errors = await process.stderr.read()

    assert (await process.wait(), errors) == (141, b"")
    assert len(pids) == 5
    assert not any(map(lives, pids))
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a read of one directory may block


async def test_a_promise_that_does_not_hold_makes_the_demo_fail(tmp_path: Path) -> None:
    """The warehouse fails once, so step 2 is begun twice: just what the demo says never happens."""
    settings = {"HOLDFAST_GATEWAY_ORDERS_SIMULATE_CRASH": "1"}

    code, output = await holdfast("demo", "first-order", folder=tmp_path, **settings)

    assert code == 1
    assert "NO   every step ran, and none ran twice" in output
    assert output.endswith("holdfast: Not everything held: every step ran, and none ran twice.\n")


async def test_a_demo_that_cannot_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    settings = {"HOLDFAST_WORKER_MODULES": "nonexistent"}

    code, output = await holdfast("demo", "orders", folder=tmp_path, **settings)

    assert code == 1
    assert "worker (pid" in output
    assert "The module nonexistent cannot be imported" in output
    assert "Traceback" not in output


async def test_the_same_order_twice_runs_each_step_once(tmp_path: Path) -> None:
    code, output = await holdfast("demo", "orders", folder=tmp_path)

    assert code == 0, output
    assert output.count('"status":"accepted"') == 2
    for step in ("[validate]", "[inventory]", "[payment]", "[email]"):
        assert output.count(step) == 1


async def test_a_failing_warehouse_is_asked_again(tmp_path: Path) -> None:
    code, output = await holdfast("demo", "orders", "--crash", folder=tmp_path)

    assert code == 0, output
    assert "warehouse API timeout (attempt 1)" in output
    assert "reserved 2 item(s) (attempt 2)" in output


async def test_a_demo_plays_against_a_running_gateway(tmp_path: Path) -> None:
    async with dev(tmp_path / "data") as system:
        gateway = system.ready["gateway"][0]
        code, output = await holdfast("demo", "orders", "--gateway", gateway, folder=tmp_path)

    assert code == 0, output
    assert '"paymentCharged": true' in output


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--gateway", "http://127.0.0.1:9"], 1, "POST http://127.0.0.1:9/orders got no answer"),
        (["--gateway", "nonsense"], 1, "got no answer"),
        (["--crash", "--gateway", "http://127.0.0.1:9"], 2, "--crash needs a gateway that was"),
    ],
)
async def test_a_demo_that_cannot_play_says_why(
    arguments: list[str], code: int, sentence: str, tmp_path: Path
) -> None:
    answer, output = await holdfast("demo", "orders", *arguments, folder=tmp_path)

    assert answer == code
    assert sentence in output
    assert "Traceback" not in output
