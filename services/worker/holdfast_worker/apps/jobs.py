"""The job service: look an account up, process it, wait for a person's approval, save the result.

The promise of a job is `job/<uuid>`; the approval is `approve/<job id>`, so that whoever approves
can name it without asking. Rows are read and written by the `db` group, reached by name only.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

DB: Final = "poll://any@db"
PROCESS_SECONDS_MAX: Final = 3600.0  # a step that fails for an hour will not get well by itself
RECEIPTS: Final = 36**6  # six base-36 digits; a receipt is for people, not a key


class JobRejected(Exception):
    """A person said no."""

    retryable = False


def process_job(ctx: Context, payload: dict[str, Any]) -> Generator[Any, Any, dict[str, object]]:
    """Process the account that the payload names, once somebody approved it.

    `approvalTimeoutMs` in the payload bounds the wait for the approval; without it the deadline of
    the job itself does.
    """
    account = yield ctx.rpc("db.getAccount", payload.get("accountId"), ctx.options(target=DB))
    processed = yield ctx.run(process_account, account, ctx.options(timeout=PROCESS_SECONDS_MAX))

    timeout_ms = payload.get("approvalTimeoutMs")
    approval = yield ctx.promise(
        id=f"approve/{ctx.id}",
        timeout=None if timeout_ms is None else timeout_ms / 1000,
        data={"jobId": ctx.id, "accountId": payload.get("accountId")},
    )
    approved = yield approval
    if not approved:
        raise JobRejected("rejected")

    # Clock and chance only through the context: a replay must see the same values.
    approved_at_ms = yield ctx.date.now()
    chance = yield ctx.math.random()
    result = {**processed, "approvedAtMs": approved_at_ms, "receipt": int(chance * RECEIPTS)}
    yield ctx.rpc("db.saveResult", {"id": ctx.id, "result": result}, ctx.options(target=DB))
    return {"status": "done", "result": result}


def process_account(ctx: Context, account: dict[str, Any]) -> dict[str, Any]:
    """Do the work that the job is about."""
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, "processAccount")
    outside.tell(f"[job]        {ctx.origin_id} — processed account {account['id']}")
    return {"accountId": account["id"], "owner": account["owner"], "balance": account["balance"]}


def aggregate(ctx: Context, account_ids: Sequence[str]) -> Generator[Any, Any, list[object]]:
    """Look many accounts up at the same time; return them in the order of their ids."""
    started = []
    for account_id in account_ids:
        future = yield ctx.begin_rpc("db.getAccount", account_id, ctx.options(target=DB))
        started.append(future)
    accounts = []
    for future in started:
        account = yield future
        accounts.append(account)
    return accounts


def save_job(
    ctx: Context, job_id: str, result: dict[str, Any]
) -> Generator[Any, Any, dict[str, bool]]:
    """Save the result of a job on somebody's demand.

    The operation has an id of its own, `db/op/<job id>`: however many workflows ask for it, it
    runs once and all of them get its result.
    """
    options = ctx.options(id=f"db/op/{job_id}", target=DB)
    saved: dict[str, bool] = yield ctx.rpc(
        "db.saveResult", {"id": job_id, "result": result}, options
    )
    return saved


def register(resonate: Resonate) -> None:
    """Register the workflows and the step under the names that callers and records use."""
    resonate.register("process-job", process_job)
    resonate.register("processAccount", process_account)
    resonate.register("aggregate", aggregate)
    resonate.register("save-job", save_job)
