"""Racing clients against real processes that are killed: every answer can be explained."""

from pathlib import Path

import pytest

from tests.integration.postgres import Server
from tests.linearizability.recording import read
from tests.linearizability.trial import Outcome, Plan, on_postgres, on_sqlite

SECONDS = 14.0

pytestmark = pytest.mark.timeout(300)


def _show(capsys: pytest.CaptureFixture[str], outcome: Outcome) -> None:
    with capsys.disabled():
        print(f"\n{outcome.table()}")  # noqa: T201 - what happened is half of the verdict


def test_one_store_on_sqlite_is_linearizable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = on_sqlite(tmp_path, Plan(seconds=SECONDS))

    _show(capsys, outcome)
    assert outcome.flaws() == []
    assert outcome.kept is not None
    assert read(outcome.kept) == list(outcome.events), "what was kept is what was judged"


def test_three_stores_on_postgresql_are_linearizable(
    tmp_path: Path, postgres_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = on_postgres(tmp_path, postgres_server, Plan(seconds=SECONDS, seed=2))

    _show(capsys, outcome)
    assert outcome.flaws() == []
