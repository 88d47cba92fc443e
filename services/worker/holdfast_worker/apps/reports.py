"""Reports: validate a request, ask the warehouse, write a file, tell the user.

The promise of a report is `report/<request id>`. Its file is the value of a step that has an id of
its own, `file/reports/<request id>.csv`: whoever knows the address of the file finds it there,
whichever process wrote it and whether or not that one still lives.
"""

from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

DB: Final = "poll://any@db"
TYPES: Final = ("sales", "inventory", "analytics")
PERIODS: Final = ("2025-Q4", "2025-Q3", "2025-H2")

Request = dict[str, str]


class ReportInvalid(ValueError):
    """The report can never be made; trying again would not help."""

    retryable = False


def generate_report(ctx: Context, request: Request) -> Generator[Any, Any, dict[str, object]]:
    """Take a report from its request to the user's notice, in about two and a half seconds."""
    yield ctx.run(validate_request, request)
    rows = yield ctx.rpc(
        "db.queryWarehouse", request["type"], request["period"], ctx.options(target=DB)
    )
    url = f"/reports/{request['id']}.csv"
    yield ctx.run(generate_file, request, rows, ctx.options(id=f"file{url}"))
    yield ctx.run(notify_user, request, url)
    completed_at = yield ctx.now()
    return {
        "reportId": request["id"],
        "type": request["type"],
        "period": request["period"],
        "rowCount": rows,
        "fileUrl": url,
        "completedAt": f"{completed_at:%Y-%m-%dT%H:%M:%S}.{completed_at.microsecond // 1000:03}Z",
    }


def validate_request(ctx: Context, request: Request) -> bool:
    """Refuse what no later step could handle; raise ReportInvalid."""
    outside = _enter(ctx, "validateRequest", ms=300)
    for name, known in (("type", TYPES), ("period", PERIODS)):
        if request.get(name) not in known:
            raise ReportInvalid(f"{name} must be one of {', '.join(known)}")
    outside.tell(
        f"[validate]  report {request['id']} — type: {request['type']}, period: {request['period']}"
    )
    return True


def generate_file(ctx: Context, request: Request, rows: int) -> str:
    """Make the file; return what is in it."""
    outside = _enter(ctx, "generateFile", ms=800)
    report = f"report {request['id']}"
    outside.tell(f"[generate]  {report} — building {request['type']} file of {rows:,} rows")
    text = "report,type,period,rows\r\n" + ",".join([*request.values(), str(rows)]) + "\r\n"
    outside.tell(f"[generate]  {report} — saved to /reports/{request['id']}.csv")
    return text


def notify_user(ctx: Context, request: Request, url: str) -> None:
    """Tell whoever asked for it."""
    outside = _enter(ctx, "notifyUser", ms=200)
    outside.tell(f"[notify]    report {request['id']} — download ready at {url}")


def register(resonate: Resonate) -> None:
    """Register the workflow and its steps under the names that callers and records use."""
    resonate.register("generateReport", generate_report)
    resonate.register("validateRequest", validate_request)
    resonate.register("generateFile", generate_file)
    resonate.register("notifyUser", notify_user)


def _enter(ctx: Context, step: str, *, ms: int) -> Outside:
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, step)
    outside.take(ms)
    return outside
