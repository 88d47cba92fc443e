"""One order, one id: in the logs of gateway, worker and db worker, also after a kill."""

import json
from typing import Any
from uuid import uuid4

from tests.integration.apps.split import Split, until
from tests.integration.apps.test_split_orders import done, order

SERVICES = {"gateway", "worker", "db"}


def logged(split: Split, trace_id: str) -> list[dict[str, Any]]:
    """List what all processes, dead ones too, have logged of a trace."""
    found = []
    for log in split.stage.directory.glob("*.log"):
        *lines, _being_written = log.read_text().split("\n")
        found += [json.loads(line) for line in lines if trace_id in line]
    return [event for event in found if event.get("trace_id") == trace_id]


def tells(events: list[dict[str, Any]], what: str) -> bool:
    return any(what in event["event"] for event in events)


async def test_the_callers_trace_is_in_the_logs_of_every_process_that_works_on_an_order(
    split: Split,
) -> None:
    trace, order_id = uuid4().hex, f"ord-{uuid4().hex}"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}

    answer = await split.http.post("/orders", json=order(order_id), headers=headers)
    await done(split, order_id)

    assert answer.status_code == 202
    await until(lambda: {event["service"] for event in logged(split, trace)} == SERVICES)
    events = logged(split, trace)
    for what in ("request_answered", "[validate]", "[inventory]", "[payment]", "[email]"):
        assert tells(events, what), what


async def test_an_order_without_a_trace_has_that_of_the_gateway(split: Split) -> None:
    order_id = f"ord-{uuid4().hex}"

    answer = await split.http.post(
        "/orders", json=order(order_id), headers={"X-Request-Id": order_id}
    )
    await done(split, order_id)

    assert answer.status_code == 202
    gateways = [
        json.loads(line)
        for log in split.stage.directory.glob("gateway-*.log")
        for line in log.read_text().splitlines()
        if order_id in line
    ]
    [trace] = {event["trace_id"] for event in gateways if event.get("request_id") == order_id}
    await until(lambda: {event["service"] for event in logged(split, trace)} == SERVICES)


async def test_a_worker_that_takes_over_from_a_dead_one_is_inside_the_same_trace(
    split: Split,
) -> None:
    trace, order_id = uuid4().hex, f"ord-{uuid4().hex}"
    origin = f"order/{order_id}"
    split.cues.hold("chargePayment", origin)
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    await split.http.post("/orders", json=order(order_id), headers=headers)
    await split.begun(origin, "chargePayment")
    split.stage.dismiss()
    before = logged(split, trace)
    split.cues.let_go("chargePayment", origin)

    # Sent again, as by a caller who has lost the answer: another trace, the same order.
    again = {"traceparent": f"00-{uuid4().hex}-00f067aa0ba902b7-01"}
    answer = await split.elsewhere.post("/orders", json=order(order_id), headers=again)
    split.stage.hire()

    await done(split, order_id)
    assert answer.status_code == 202
    assert not tells(before, "[payment]")
    await until(lambda: tells(logged(split, trace), "[email]"))
    assert tells(logged(split, trace), "[payment]")
