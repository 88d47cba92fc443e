"""The OpenAPI document: what the framework cannot see by itself, and a page that renders it here.

Bodies are read by the routes, not by the framework, because the answers to bad ones are documented;
so their schemas are added by hand. The page needs no script and nothing from the internet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody

from holdfast_gateway.errors import PROBLEM_JSON
from holdfast_gateway.html import escape, page

_REF: Final = "#/components/schemas/"


class ProblemDocument(msgspec.Struct, rename="camel"):
    """Problem details of RFC 9457. `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The request is malformed; nothing was started.",
    401: "The signature is missing, wrong or too old; nothing was changed.",
    404: "There is no such promise, or no such task.",
    409: "The id or key is in use by a different request, and the gateway refuses that.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    501: "Not to be had here: the store is in this process, or of an older version.",
    503: "The store cannot be reached; `Retry-After` says when to send the same request again.",
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the problems that a route may answer."""
    return {
        status: ResponseSpec(
            data_container=ProblemDocument,
            description=_DESCRIPTIONS[status],
            media_type=PROBLEM_JSON,
            generate_examples=False,
        )
        for status in statuses
    }


def json_body(
    *kinds: Any,  # noqa: ANN401 - any type
    is_form: bool = False,
    is_required: bool = True,
) -> type[Operation]:
    """Return the operation class of a route that reads one of these as its JSON body.

    With `is_form` it takes the fields of a form as well.
    """
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF + "{name}")
    inlined: Any = [_inline(schema, components) for schema in schemas]
    schema: Any = inlined[0] if len(inlined) == 1 else {"anyOf": inlined}

    @dataclass
    class JsonBodyOperation(Operation):
        def __post_init__(self) -> None:
            media = OpenAPIMediaType(schema=schema)
            content = {"application/json": media}
            if is_form:
                content["application/x-www-form-urlencoded"] = media
            self.request_body = RequestBody(content=content, required=is_required)

    return JsonBodyOperation


def config(version: str) -> OpenAPIConfig:
    """Return what the framework needs to serve `/schema` and `/schema/openapi.json`."""
    return OpenAPIConfig(
        title="Holdfast gateway",
        version=version,
        description="REST in front of the promise store.",
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
