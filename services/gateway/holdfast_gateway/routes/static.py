"""The files that browsers fetch for the pages."""

from http import HTTPStatus
from typing import Final

from litestar import Response, Router, get
from litestar.params import FromPath

from holdfast_gateway.errors import Problem
from holdfast_gateway.ui.rendering import ASSETS

YEAR: Final = "public, max-age=31536000, immutable"  # a changed file has another address


@get("/static/{name:str}", include_in_schema=False)
async def static(name: FromPath[str]) -> Response[bytes]:
    """Answer with a file that was read when the process started; no path is ever followed."""
    asset = ASSETS.get(name)
    if asset is None:
        detail = f"There is no file {name!r}."
        raise Problem(status=HTTPStatus.NOT_FOUND, code="file_not_found", detail=detail)
    headers = {"Cache-Control": YEAR, "X-Content-Type-Options": "nosniff"}
    return Response(asset.content, media_type=asset.media_type, headers=headers)


def routes() -> Router:
    """Return the route."""
    return Router("/", route_handlers=[static])
