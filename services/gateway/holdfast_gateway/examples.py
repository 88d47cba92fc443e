"""Examples in the OpenAPI document: one order, one job, one promise, the same ones everywhere.

Most are instances of the bodies they stand for, so that a body that changes takes them along.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from holdfast_gateway.records import PayloadBody, PromiseBody, ScheduleBody, TaskBody

CREATED_AT_MS: Final = 1_790_000_000_000
_DAY_MS: Final = 24 * 3_600_000
JOB_ID: Final = "job/3473c4cd-4f15-5b97-9155-fa3e84f07125"  # that of the key `one`

PARAMETERS: Final[Mapping[str, object]] = {
    "order_id": "ord-schema-1",
    "report_id": "rpt_1790000000000_5f3a9c1e",
    "file": "rpt_1790000000000_5f3a9c1e.csv",
    "key": "buy-1",
    "job_id": JOB_ID,
    "service": "approval",
    "promise_id": "gate/1",
    "task_id": "foo/1",
    "schedule_id": "nightly-report",
    "workflow_id": "foo/1",
    "group": "workers",
    "name": "foo",
    "Idempotency-Key": "one",
    "webhook-id": "msg_1",
    "webhook-timestamp": "1790000000",
    "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    "Last-Event-ID": f"{CREATED_AT_MS}-workflow-foo/1",
    "wait": 0.05,
    "state": "pending",
    "tag": ["team=a"],
    "limit": 10,
}
"""By the parameter's name. What is absent here has no example that would work for everybody."""

PENDING: Final = PromiseBody(
    id="gate/1",
    state="pending",
    param=PayloadBody(data={"for": "you"}),
    value=PayloadBody(),
    tags={"team": "a"},
    timeout_at_ms=CREATED_AT_MS + _DAY_MS,
    created_at_ms=CREATED_AT_MS,
)
RESOLVED: Final = msgspec.structs.replace(
    PENDING,
    state="resolved",
    value=PayloadBody(data="open"),
    settled_at_ms=CREATED_AT_MS + 1_000,
)
REJECTED: Final = msgspec.structs.replace(
    RESOLVED, state="rejected", value=PayloadBody(data="closed")
)
CANCELED: Final = msgspec.structs.replace(RESOLVED, state="rejected_canceled", value=PayloadBody())
CALL: Final = PromiseBody(
    id="foo/1",
    state="resolved",
    param=PayloadBody(data={"func": "foo", "args": [{"n": 1}], "kwargs": {}}),
    value=PayloadBody(data={"n": 1}),
    tags={"resonate:target": "poll://any@workers"},
    timeout_at_ms=CREATED_AT_MS + _DAY_MS,
    created_at_ms=CREATED_AT_MS,
    settled_at_ms=CREATED_AT_MS + 1_000,
)
TASK: Final = TaskBody(id="foo/1", state="suspended", version=1, resumes=0)
SCHEDULE: Final = ScheduleBody(
    id="nightly-report",
    cron="0 3 * * *",
    time_zone="Europe/Berlin",
    promise_id="{{.id}}.{{.timestamp}}",
    promise_timeout_ms=_DAY_MS,
    promise_param=PayloadBody(data={"func": "report_for", "args": ["north"], "version": 1}),
    promise_tags={"resonate:target": "poll://any@workers"},
    created_at_ms=CREATED_AT_MS,
    next_run_at_ms=1_790_038_800_000,
    paused=False,
)
