"""What the library tells, with logging set up and without."""

import logging

import pytest

from holdfast.logs import EventLog


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def lonely() -> logging.Logger:
    """Return a logger that nobody listens to, as in a program that never set logging up."""
    logger = logging.Logger("lonely")  # noqa: LOG001 - beside the tree, whose root pytest listens to
    assert not logger.hasHandlers()
    return logger


def test_a_program_without_logging_is_told_the_reason(
    lonely: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    EventLog(lonely).warning("task_halted", promise_id="a/1", reason="yielded 5")

    assert capsys.readouterr().err == "task_halted promise_id=a/1 reason=yielded 5\n"


def test_whoever_set_logging_up_gets_the_event_by_its_name(lonely: logging.Logger) -> None:
    kept = Kept()
    lonely.addHandler(kept)

    EventLog(lonely).warning("task_halted", promise_id="a/1", reason="yielded 5")

    assert kept.messages == ["task_halted"]
