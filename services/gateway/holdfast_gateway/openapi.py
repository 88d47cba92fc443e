"""The OpenAPI document: what the framework cannot see by itself, and a page that renders it here.

Bodies are read by the routes, not by the framework, because the answers to bad ones are documented;
so their schemas are added by hand. The page needs no script and nothing from the internet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec
from litestar import Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Responses,
    Schema,
    SecurityScheme,
)

from holdfast_gateway.errors import PROBLEM_JSON, problem_body
from holdfast_gateway.examples import PARAMETERS
from holdfast_gateway.html import escape, page

BEARER: Final = "bearer"
"""The name of the security scheme of routes that ask for a token."""

_REF: Final = "#/components/schemas/"


class ProblemDocument(msgspec.Struct, rename="camel"):
    """Problem details of RFC 9457. `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a status means here, with a code and a detail for example."""

    description: str
    code: str
    detail: str


_REFUSALS: Final[Mapping[int, _Refusal]] = {
    400: _Refusal(
        "The request is malformed; nothing was started.",
        "invalid_body",
        "Expected `str`, got `int` - at `$.id`.",
    ),
    401: _Refusal(
        "The bearer token, or the signature of a webhook, is missing, wrong or too old; nothing was"
        " changed.",
        "token_missing",
        "a bearer token is required here, and the request has none",
    ),
    403: _Refusal(
        "The bearer token does not cover every id in the request; nothing was changed.",
        "prefix_mismatch",
        "the token's prefix 'bar/' does not cover the id 'foo/1': use a token that covers every id"
        " in the request",
    ),
    404: _Refusal(
        "There is no such promise, task or schedule, or nothing at this path.",
        "promise_not_found",
        "promise 'gate/1' not found",
    ),
    408: _Refusal(
        "The body came too slowly; nothing was started.",
        "body_too_slow",
        "The body did not arrive within 30 seconds.",
    ),
    409: _Refusal(
        "The id or key is in use by a different request, or the task is in a state in which that"
        " cannot be done; nothing was changed.",
        "idempotency_conflict",
        "The id 'foo/1' belongs to another call.",
    ),
    413: _Refusal("The body is too large.", "body_too_large", "The body is too large."),
    415: _Refusal(
        "The body is not JSON.",
        "unsupported_media_type",
        "The body must be JSON with content type application/json; it is 'text/plain'.",
    ),
    422: _Refusal(
        "The schedule cannot be planned any more, as its time zone is gone; nothing was changed.",
        "schedule_unplannable",
        "schedule nightly-report cannot be planned any more, create it anew: must be the IANA name"
        " of a time zone, such as Europe/Berlin, it is 'Mars/Olympus'",
    ),
    429: _Refusal(
        "The client has sent more requests than it may; `Retry-After` says when it may again.",
        "too_many_requests",
        "This client has sent more requests than it may; send this one again later.",
    ),
    500: _Refusal(
        "A fault of the gateway; its log has it under the request id.",
        "internal",
        "The request failed inside; the log of the gateway has it under the request id.",
    ),
    501: _Refusal(
        "Not to be had here: the store is in this process, or of an older version.",
        "not_supported",
        "This program has its store inside; only a gateway of a store process can tell.",
    ),
    503: _Refusal(
        "The store cannot be reached; `Retry-After` says when to send the same request again.",
        "server_unavailable",
        "The promise store cannot be reached. Send the same request again later.",
    ),
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the problems that a route may answer; every one may refuse a client, or its body."""
    everywhere = {429, 408} if HTTPStatus.REQUEST_ENTITY_TOO_LARGE in statuses else {429}
    return {
        status: ResponseSpec(
            data_container=ProblemDocument,
            description=_REFUSALS[status].description,
            media_type=PROBLEM_JSON,
            generate_examples=False,
            examples=[Example(value=_problem_example(status))],
        )
        for status in sorted({*statuses, *everywhere})
    }


def _problem_example(status: int) -> dict[str, object]:
    refusal = _REFUSALS[status]
    return problem_body(
        status=status,
        code=refusal.code,
        detail=refusal.detail,
        request_id="2f1c7d0b9a3e4c5d8e6f7a8b9c0d1e2f",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        members={},
    )


def operation(
    *kinds: Any,  # noqa: ANN401 - any type
    examples: Sequence[object] = (),
    is_form: bool = False,
    is_required: bool = True,
    answers: Mapping[int, object] = MappingProxyType({}),
    has_location: bool = False,
) -> type[Operation]:
    """Return the operation class of a route that reads one of these as its JSON body, or no body.

    With `is_form` it takes the fields of a form as well. `answers` are examples of its JSON bodies
    by status, one or a list of them, whose types are the schema; a text is an example of a text.
    With `has_location` its successes name the address of what was made.
    """
    body = None
    if kinds:
        named = _named(examples)
        optional = () if is_required else (None,)  # `null` is no body
        content = {
            "application/json": OpenAPIMediaType(
                schema=schema_of((*kinds, *optional)), examples=named
            )
        }
        if is_form:
            content["application/x-www-form-urlencoded"] = OpenAPIMediaType(
                schema=schema_of(kinds), examples=named
            )
        body = RequestBody(content=content, required=is_required)

    @dataclass
    class CompleteOperation(Operation):
        def __post_init__(self) -> None:
            self.request_body = body
            for parameter in self.parameters or []:
                assert isinstance(parameter, Parameter), "we refer to no components"
                _complete_parameter(parameter)
            self.responses = self.responses or {}
            for answered, told in answers.items():
                _tell(self.responses, str(answered), told)
            for status, response in self.responses.items():
                assert isinstance(response, OpenAPIResponse), "we refer to no components"
                response.headers = dict(_headers(status, has_location=has_location))

    return CompleteOperation


def schema_of(kinds: Sequence[Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the schema of what is any of these types, with nothing to look up elsewhere."""
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF + "{name}")
    inlined: Any = [_inline(schema, components) for schema in schemas]
    return inlined[0] if len(inlined) == 1 else {"anyOf": inlined}


def _complete_parameter(parameter: Parameter) -> None:
    """Leave `null` out, which no query and no header can hold, and add an example."""
    schema = parameter.schema
    if isinstance(schema, Schema) and schema.one_of:
        [value] = [
            each
            for each in schema.one_of
            if isinstance(each, Schema) and each.type is not OpenAPIType.NULL
        ]
        schema.one_of, schema.items = None, value.items
        schema.type = schema.type or value.type  # routes read numbers by hand, and say so
    if parameter.name in PARAMETERS:
        parameter.examples = _named([PARAMETERS[parameter.name]])


def _tell(responses: Responses, status: str, told: object) -> None:
    """Add the JSON body of an answer; one that may be a problem as well keeps that."""
    response = responses[status]
    assert isinstance(response, OpenAPIResponse), "we refer to no components"
    if isinstance(told, str):
        for media in (response.content or {}).values():
            media.examples = _named([told])
        return
    examples = told if isinstance(told, list) else [told]
    kinds = list(dict.fromkeys(type(each) for each in examples))
    content = dict(response.content or {})
    content["application/json"] = OpenAPIMediaType(
        schema=schema_of(kinds), examples=_named([msgspec.to_builtins(each) for each in examples])
    )
    response.content = content


def _headers(status: str, *, has_location: bool) -> Iterator[tuple[str, OpenAPIHeader]]:
    yield "X-Request-Id", _header("string", "The id of the request, as in the gateway's log.")
    if status in {"429", "503"}:
        yield "Retry-After", _header("integer", "Seconds until the same request may be sent again.")
    if has_location and status.startswith("2"):
        yield "Location", _header("string", "The address of what the answer is about.")


def _header(kind: str, description: str) -> OpenAPIHeader:
    schema = Schema(type=OpenAPIType(kind))
    return OpenAPIHeader(schema=schema, description=description, required=True)


def _named(examples: Sequence[object]) -> dict[str, Example | Reference] | None:
    """Give examples the names that the format wants."""
    named: dict[str, Example | Reference] = {
        f"example-{number}": Example(value=each) for number, each in enumerate(examples, start=1)
    }
    return named or None


def config(version: str) -> OpenAPIConfig:
    """Return what the framework needs to serve `/schema` and `/schema/openapi.json`."""
    return OpenAPIConfig(
        title="Holdfast gateway",
        version=version,
        description="REST in front of the promise store.",
        components=Components(
            security_schemes={
                BEARER: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="Where the gateway asks for tokens.",
                )
            }
        ),
        openapi_router=Router(
            "/schema", route_handlers=[], include_in_schema=False, after_request=_refuse_unknown
        ),
        render_plugins=[SchemaPage(path="/"), JsonRenderPlugin()],
    )


async def _refuse_unknown(response: Response[Any]) -> Response[Any]:
    """Put a problem in the place of the framework's own page for what is not below `/schema`."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NotFoundException
    return response


class SchemaPage(OpenAPIRenderPlugin):
    """Renders the document as plain HTML."""

    def render(self, request: Any, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ANN401 - theirs
        """Render every operation with its parameters, body and answers."""
        del request
        info = openapi_schema["info"]
        operations = "".join(
            _operation(method, path, operation)
            for path, item in openapi_schema["paths"].items()
            for method, operation in item.items()
        )
        return page(
            f"{info['title']} {info['version']}",
            f"<p>{escape(info.get('description', ''))} The document itself is at"
            f' <a href="/schema/openapi.json">/schema/openapi.json</a>.</p>{operations}',
        ).encode()


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{escape(each['name'])}</code> in {escape(each['in'])}"
        f"{' (required)' if each.get('required') else ''}"
        f" {escape(each.get('description', ''))}</li>"
        for each in operation.get("parameters", [])
    )
    body = ""
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        pretty = msgspec.json.format(msgspec.json.encode(media["schema"]), indent=2).decode()
        body += f"<p>Body, <code>{escape(kind)}</code>:</p><pre>{escape(pretty)}</pre>"
    responses = "".join(
        f"<li><code>{escape(status)}</code> {escape(each.get('description', ''))}</li>"
        for status, each in operation.get("responses", {}).items()
    )
    return (
        f"<section><h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))}</p>"
        f"<ul>{parameters}</ul>{body}<p>Answers:</p><ul>{responses}</ul></section>"
    )


def _inline(schema: Any, components: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Replace references to components by what they refer to; ours do not refer to themselves."""
    match schema:
        case {"$ref": str(reference)}:
            return _inline(components[reference.removeprefix(_REF)], components)
        case dict():
            return {name: _inline(each, components) for name, each in schema.items()}
        case list():
            return [_inline(each, components) for each in schema]
        case _:
            return schema
