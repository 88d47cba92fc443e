"""Jobs: start one, start an aggregation, tell how a job is getting on."""

import re
import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter
from msgspec import Meta

from holdfast_gateway import answers
from holdfast_gateway.bodies import AnyRequest, convert, invalid, read_json
from holdfast_gateway.errors import Problem
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import Done, Outcome, Processing, Rejected, read_outcome
from holdfast_gateway.paths import id_from_path
from holdfast_gateway.routes.waiting import Wait, parse_wait

ACCOUNTS_MAX: Final = 1_000
APPROVAL_MS_MAX: Final = 7 * 24 * 3_600_000
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
JOB_ID: Final = re.compile(r"job/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEYS: Final = uuid.UUID("5d0c53c6-2f0e-4d4b-8f0b-6d6a0a4ad8c7")
"""The namespace of ids made from idempotency keys; another value would forget every key in use."""

AccountId = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"\A[^\x00]*\Z")]


class Job(msgspec.Struct, rename="camel"):
    """What a job works on. More members may be sent and are handed on."""

    account_id: AccountId
    approval_timeout_ms: Annotated[int, Meta(ge=1, le=APPROVAL_MS_MAX)] | None = None


class Aggregation(msgspec.Struct, rename="camel"):
    """The accounts to look up."""

    account_ids: Annotated[list[AccountId], Meta(min_length=1, max_length=ACCOUNTS_MAX)]


IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="The same key is the same job; with another body it is refused.",
        required=False,
    ),
]


@post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    summary="Start a job",
    operation_class=operation(Job, examples=[{"accountId": "acct-1"}], answers=answers.JOB_STARTED),
    responses=problems(400, 409, 413, 415, 500, 503),
)
async def start_job(
    request: AnyRequest, gateway: NamedDependency[Gateway], idempotency_key: IdempotencyKey = None
) -> Response[dict[str, str]]:
    """Store the promise of the job, then answer with its id."""
    value = await _read_object(request)
    convert(value, Job)
    return await _start(gateway, "process-job", value, idempotency_key)


@post(
    "/jobs/aggregate",
    status_code=HTTPStatus.ACCEPTED,
    summary="Look many accounts up at the same time",
    operation_class=operation(
        Aggregation,
        examples=[{"accountIds": ["acct-1", "acct-2"]}],
        answers=answers.JOB_STARTED,
    ),
    responses=problems(400, 409, 413, 415, 500, 503),
)
async def start_aggregation(
    request: AnyRequest, gateway: NamedDependency[Gateway], idempotency_key: IdempotencyKey = None
) -> Response[dict[str, str]]:
    """Store the promise of the aggregation, then answer with its id."""
    value = await _read_object(request)
    account_ids = convert(value, Aggregation).account_ids
    return await _start(gateway, "aggregate", account_ids, idempotency_key)


@get(
    "/jobs/{job_id:path}",
    summary="Tell how a job is getting on",
    description="The id is `job/<uuid>`; its slash may be percent-encoded or not.",
    operation_class=operation(answers=answers.JOB_STATUS),
    responses=problems(400, 404, 500, 503),
)
async def job_status(
    job_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    wait: Wait = None,
) -> Response[dict[str, Any]]:
    """Read the promise; wait for its end as long as the caller asks, within the limit."""
    seconds = parse_wait(wait, gateway.settings.wait_seconds_max)
    found = id_from_path(job_id.removeprefix("/"))
    # Other ids are other people's promises, which this route must not show.
    outcome: Outcome | None = None
    if JOB_ID.fullmatch(found):
        outcome = await read_outcome(gateway.resonate, found, waits=gateway.waits, seconds=seconds)
    match outcome:
        case None:
            body = {"id": found, "status": "not_found"}
            return Response(body, status_code=HTTPStatus.NOT_FOUND)
        case Processing():
            return Response({"id": found, "status": "processing"})
        case Done(result):
            return Response({"id": found, "status": "done", "result": result})
        case Rejected(error):
            return Response({"id": found, "status": "rejected", "error": error})


def routes(prefix: str) -> Router:
    """Return the routes below the application's mount point."""
    return Router(
        prefix or "/", route_handlers=[start_job, start_aggregation, job_status], tags=["jobs"]
    )


async def _start(
    gateway: Gateway, workflow: str, argument: object, key: str | None
) -> Response[dict[str, str]]:
    job_id = f"job/{_uuid_of(workflow, key)}"
    await gateway.begin(job_id, workflow, argument, refuse_conflict=True)
    return Response({"id": job_id})


def _uuid_of(workflow: str, key: str | None) -> uuid.UUID:
    """Make an id up, or derive it from the key; different workflows may use the same key."""
    if key is None:
        return uuid.uuid4()
    if not KEY.fullmatch(key):
        raise Problem(
            status=HTTPStatus.BAD_REQUEST,
            code="invalid_idempotency_key",
            detail="Idempotency-Key must be 1 to 255 visible ASCII characters.",
        )
    return uuid.uuid5(KEYS, f"{workflow}/{key}")


async def _read_object(request: AnyRequest) -> dict[str, Any]:
    value = await read_json(request)
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.")
    return value
