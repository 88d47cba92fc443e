"""Reports: start one, tell how it is getting on, hand its file out."""

import secrets
import time
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from holdfast_gateway import answers
from holdfast_gateway.bodies import AnyRequest, convert, read_fields
from holdfast_gateway.errors import Problem
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import Done, Outcome, read_outcome, status_answer
from holdfast_gateway.paths import id_from_path, names_a_step


class Report(msgspec.Struct):
    """What to report on."""

    type: Literal["sales", "inventory", "analytics"] = "sales"
    period: Literal["2025-Q4", "2025-Q3", "2025-H2"] = "2025-Q4"


@post(
    "/api/reports",
    status_code=HTTPStatus.OK,
    summary="Start a report",
    description="The body is JSON or the fields of a form.",
    operation_class=operation(
        Report,
        examples=[{"type": "sales", "period": "2025-Q4"}],
        is_form=True,
        is_required=False,
        answers=answers.REPORT_STARTED,
    ),
    responses=problems(400, 413, 415, 500, 503),
)
async def post_report(
    request: AnyRequest, gateway: NamedDependency[Gateway]
) -> Response[dict[str, str]]:
    """Store the promise of the report, then answer with its id."""
    return Response({"id": await start_report(request, gateway)})


async def start_report(request: AnyRequest, gateway: Gateway) -> str:
    """Store the promise of the report that the request asks for; return the report's id."""
    report = convert(await read_fields(request), Report)
    # The clock alone is not enough: two may ask in one millisecond.
    report_id = f"rpt_{time.time_ns() // 1_000_000}_{secrets.token_hex(4)}"
    details = {"id": report_id, "type": report.type, "period": report.period}
    await gateway.begin(f"report/{report_id}", "generateReport", details)
    return report_id


@get(
    "/api/status/{report_id:str}",
    summary="Tell how a report is getting on",
    operation_class=operation(answers=answers.REPORT_STATUS),
    responses=problems(400, 404, 500, 503),
)
async def report_status(
    report_id: FromPath[str], gateway: NamedDependency[Gateway]
) -> Response[dict[str, Any]]:
    """Read the promise; never wait."""
    return status_answer(await read_report(gateway, id_from_path(report_id)))


async def read_report(gateway: Gateway, report_id: str) -> Outcome | None:
    """Read how a report is getting on; its steps are no reports."""
    if names_a_step(report_id):
        return None
    return await read_outcome(gateway.resonate, f"report/{report_id}")


@get(
    "/reports/{file:str}",
    media_type="text/csv",
    summary="Download the file of a report",
    operation_class=operation(answers=answers.REPORT_FILE),
    responses=problems(400, 404, 500, 503),
)
async def download(file: FromPath[str], gateway: NamedDependency[Gateway]) -> Response[str]:
    """Read the promise whose value is the file."""
    name = id_from_path(file)
    match await read_outcome(gateway.resonate, f"file/reports/{name}"):
        case Done(str(text)):
            return Response(text, media_type="text/csv")
        case _:
            detail = f"There is no file {name!r}."
            raise Problem(status=HTTPStatus.NOT_FOUND, code="file_not_found", detail=detail)


def routes(prefix: str) -> list[Router]:
    """Return the routes below the mount point; files keep the address that reports tell."""
    return [
        Router(prefix or "/", route_handlers=[post_report, report_status], tags=["reports"]),
        Router("/", route_handlers=[download], tags=["reports"]),
    ]
