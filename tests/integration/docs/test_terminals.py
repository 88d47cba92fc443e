"""Terminals do what a person's would."""

import os
import signal
import time
from pathlib import Path

from tests.integration.docs.terminals import Terminal

PATIENCE_SECONDS = 60


def test_ctrl_c_ends_a_command_of_a_suite_that_ignores_it(tmp_path: Path) -> None:
    """As one does that was started in the background by a shell without job control."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        terminal = Terminal("echo ready; sleep 600", tmp_path, dict(os.environ), printed="")
    finally:
        signal.signal(signal.SIGINT, before)
    until = time.monotonic() + PATIENCE_SECONDS
    while "ready" not in terminal.shown and time.monotonic() < until:
        time.sleep(0.02)

    terminal.stop()

    assert terminal.shown.strip() == "ready"
    assert terminal.is_over
