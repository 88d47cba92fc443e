"""Any record that an id, a number or a text can make, whether or not a rule allows it."""

from hypothesis import strategies as st

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
    Value,
    WaitMode,
)
from holdfast_store.archives.port import Listener, Record

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NUMBERS = st.integers(0, INTEGER_MAX)
HEADERS = st.dictionaries(TEXTS, TEXTS, max_size=3)
VALUES = st.builds(Value, data=st.none() | st.binary(max_size=40), headers=st.none() | HEADERS)
PROMISES = st.builds(
    Promise,
    id=IDS,
    state=st.sampled_from(PromiseState),
    param=VALUES,
    value=VALUES,
    tags=HEADERS,
    timeout_at_ms=NUMBERS,
    created_at_ms=NUMBERS,
    settled_at_ms=st.none() | NUMBERS,
    armed=st.booleans(),
)
TASKS = st.builds(
    Task,
    id=IDS,
    state=st.sampled_from(TaskState),
    version=NUMBERS,
    resumes=st.frozensets(IDS, max_size=3),
    ttl_ms=st.none() | NUMBERS,
    pid=st.none() | IDS,
    target=IDS,
    lease_at_ms=st.none() | NUMBERS,
    dispatch_at_ms=st.none() | NUMBERS,
    queued_at_ms=st.none() | NUMBERS,
    paced_until_ms=NUMBERS,
    instance=st.none() | IDS,
    wait_mode=st.sampled_from(WaitMode),
    waiting_on=NUMBERS,
    unknown_releases=NUMBERS,
    deliveries=NUMBERS,
    reason=st.none() | TEXTS,
)
SCHEDULES = st.builds(
    Schedule,
    id=IDS,
    cron=TEXTS,
    promise_id=TEXTS,
    promise_timeout_ms=NUMBERS,
    promise_param=VALUES,
    promise_tags=HEADERS,
    created_at_ms=NUMBERS,
    next_run_at_ms=NUMBERS,
    last_run_at_ms=st.none() | NUMBERS,
    paused=st.booleans(),
    time_zone=TEXTS,
)
CALLBACKS = st.builds(Callback, awaited=IDS, awaiter=IDS, wait_version=st.none() | NUMBERS)
LISTENERS = st.builds(Listener, promise_id=IDS, address=IDS)
UNBLOCKS = st.builds(Unblock, promise_id=IDS, address=IDS, enqueued_at_ms=NUMBERS)
RECORDS: st.SearchStrategy[Record] = PROMISES | TASKS | CALLBACKS | LISTENERS | UNBLOCKS | SCHEDULES
