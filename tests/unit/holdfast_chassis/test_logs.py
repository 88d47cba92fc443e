import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from holdfast_chassis.logs import get_logger, log_keys, setup_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_an_event_is_one_json_line_with_its_details() -> None:
    stream = io.StringIO()
    setup_logging("info", "store", stream=stream)

    get_logger("here").info("task_acquired", task_id="t\n%s", version=1, group=None, raw=b"x")

    [line] = stream.getvalue().splitlines()
    event = json.loads(line)
    assert len(event.pop("ts")) == len("2026-01-01T00:00:00.000Z")
    assert event == {
        "level": "info",
        "event": "task_acquired",
        "logger": "here",
        "service": "store",
        "task_id": "t\n%s",
        "version": 1,
        "group": None,
        "raw": "b'x'",
    }


def test_details_cannot_displace_the_fields_that_tools_rely_on() -> None:
    stream = io.StringIO()
    setup_logging("info", "store", stream=stream)

    get_logger("here").info("task_acquired", service="forged", level="forged")

    event = json.loads(stream.getvalue())
    assert (event["service"], event["level"]) == ("store", "info")


def test_keys_of_a_block_are_in_every_line_that_is_logged_inside() -> None:
    stream = io.StringIO()
    setup_logging("info", "gateway", stream=stream)
    log = get_logger("here")

    with log_keys(request_id="r1", path="/"):
        log.info("promise_created", path="/orders")
        with log_keys(trace_id="t1", level="x"):
            logging.getLogger("elsewhere").info("of a third party")
    log.info("outside")

    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(e.get("request_id"), e.get("trace_id"), e.get("path")) for e in events] == [
        ("r1", None, "/orders"),  # what an event says itself wins
        ("r1", "t1", "/"),
        (None, None, None),
    ]
    assert events[1]["level"] == "info"


def test_an_exception_stays_within_its_line() -> None:
    stream = io.StringIO()
    setup_logging("info", "store", stream=stream)

    try:
        _ = 1 / 0
    except ZeroDivisionError:
        get_logger("here").exception("division_failed")

    [line] = stream.getvalue().splitlines()
    assert "ZeroDivisionError: division by zero" in json.loads(line)["exception"]


def test_third_parties_and_warnings_pass_through_the_same_formatter() -> None:
    stream = io.StringIO()
    setup_logging("info", "store", stream=stream)

    logging.getLogger("grpc").warning("lost %s", "a peer")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["logger"], first["event"]) == ("grpc", "lost a peer")
    assert second["logger"] == "py.warnings"


def test_events_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    setup_logging("warning", "store", stream=stream)

    get_logger("here").info("task_acquired")

    assert stream.getvalue() == ""


def test_a_terminal_gets_a_coloured_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    setup_logging("info", "store", stream=stream)

    get_logger("here").warning("lease_lapsed", task_id="t")

    assert "\x1b[33mwarning\x1b[0m lease_lapsed \x1b[2mtask_id=\x1b[0mt" in stream.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    setup_logging("info", "store", stream=stream)

    get_logger("here").warning("lease_lapsed", task_id="t")

    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().endswith(" warning lease_lapsed task_id=t here\n")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_process_may_say_what_else_a_line_tells_when_it_is_logged(stream: io.StringIO) -> None:
    more = {"trace_id": "a", "level": "forged"}
    setup_logging("info", "worker", stream=stream, keys=lambda: more)
    log = get_logger("here")

    log.info("began")
    more["trace_id"] = "b"
    logging.getLogger("theirs").warning("goes on")
    log.info("ended", trace_id="its own")

    found = re.findall(r"trace_id\W+(?:\x1b\[0m)?(a|b|its own)\b", stream.getvalue())
    assert found == ["a", "b", "its own"]
    assert "forged" not in stream.getvalue()
