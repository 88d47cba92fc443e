"""How one stream shows many processes."""

import io
import json

import pytest

from holdfast_cli.output import Console

EVENT = json.dumps(
    {
        "ts": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "event": "task_acquired",
        "logger": "holdfast_worker",
        "service": "worker",
        "task_id": "order/1",
    }
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_the_prefix_and_what_the_process_wrote() -> None:
    stream = io.StringIO()

    Console(["store", "db"], stream=stream).line("db", EVENT)

    assert stream.getvalue() == f"db       | {EVENT}\n"


def test_a_terminal_gets_a_short_line_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()

    Console(["worker"], stream=stream).line("worker", EVENT)

    line = stream.getvalue()
    assert line.startswith("\x1b[")
    assert "task_acquired" in line
    assert '"event"' not in line


def test_no_color_keeps_the_short_line_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()

    Console(["worker"], stream=stream).line("worker", EVENT)

    line = stream.getvalue()
    assert "\x1b" not in line
    assert line.startswith("worker   | 03:04:05.678 info")
    assert "task_id=order/1" in line


@pytest.mark.parametrize("text", ["plain words", "{broken", "[1, 2]", "17", '{"event": "x"}'])
def test_what_is_not_a_log_line_of_ours_is_shown_as_it_is(text: str) -> None:
    stream = Terminal()

    Console(["worker"], stream=stream).line("worker", text)

    assert text in stream.getvalue()


def test_every_line_of_several_has_the_prefix() -> None:
    stream = io.StringIO()

    Console(["db"], stream=stream).line("db", "one\ntwo")

    assert stream.getvalue() == "db       | one\ndb       | two\n"
