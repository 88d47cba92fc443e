"""The page of the report application; every part of it that changes is rendered here."""

from http import HTTPStatus
from typing import Annotated, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from holdfast_gateway.bodies import AnyRequest
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.outcomes import Done, Outcome, Rejected
from holdfast_gateway.paths import id_from_path
from holdfast_gateway.routes.reports import read_report, start_report
from holdfast_gateway.ui.rendering import page

TRIES_MAX: Final = 60  # half a second each


@get("/reports")
async def reports_page() -> Response[str]:
    """Show the form."""
    return page("reports.html")


@post("/reports", status_code=HTTPStatus.OK)
async def submit(request: AnyRequest, gateway: NamedDependency[Gateway]) -> Response[str]:
    """Start a report; answer with what makes the page follow it."""
    report_id = await start_report(request, gateway)
    return _progress(gateway, report_id, attempt=1)


@get("/reports/progress/{report_id:str}")
async def progress(
    report_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    attempt: Annotated[int, QueryParameter(name="try", ge=1, required=False)] = 1,
) -> Response[str]:
    """Answer with what has changed; at the last try, that it takes too long."""
    report_id = id_from_path(report_id)
    outcome = await read_report(gateway, report_id)
    return _progress(gateway, report_id, attempt=attempt, outcome=outcome)


def _progress(
    gateway: Gateway, report_id: str, *, attempt: int, outcome: Outcome | None = None
) -> Response[str]:
    values: dict[str, object] = {}
    match outcome:
        case Done(result):
            state, values["result"] = "done", result
        case Rejected(error):
            state, values["error"] = "rejected", error
        case _:  # an unknown one may be on its way: that is another try
            state = "processing" if attempt < TRIES_MAX else "timed out"
    return page(
        "reports_progress.html",
        hash_=report_id if attempt == 1 else None,
        id=report_id,
        attempt=attempt,
        state=state,
        api=gateway.settings.prefix_of("reports"),
        **values,
    )


def routes() -> Router:
    """Return the routes of the page, which stays at the root."""
    return Router("/", route_handlers=[reports_page, submit, progress], include_in_schema=False)
