"""Templates to answers, and the files that the pages need.

Everything that is put into a template is escaped unless the template says otherwise. Browsers are
told to run no script and to fetch nothing that does not come from this gateway.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response

SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
TYPES: Final = {"css": "text/css", "js": "text/javascript", "txt": "text/plain"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file for browsers; its tag changes with its bytes."""

    content: bytes
    media_type: str
    tag: str


def _read_assets() -> dict[str, Asset]:
    assets = {}
    for file in (resources.files("holdfast_gateway.ui") / "static").iterdir():
        media_type = TYPES.get(file.name.rpartition(".")[2])
        if media_type is None:
            continue  # what an editor left there
        content = file.read_bytes()
        tag = hashlib.sha256(content).hexdigest()[:16]
        assets[file.name] = Asset(content=content, media_type=media_type, tag=tag)
    return assets


ASSETS: Final = _read_assets()


def _address(name: str) -> str:
    """Return where an asset is; the tag makes browsers fetch a changed one at once."""
    return f"/static/{name}?{ASSETS[name].tag}"


_templates: Final = Environment(
    loader=PackageLoader("holdfast_gateway.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = _address


def page(template: str, *, hash_: str | None = None, **values: object) -> Response[str]:
    """Answer with a page, or with a part of one; `hash_` becomes the fragment of its address."""
    headers = {**SECURITY, "Cache-Control": "no-store"}
    if hash_ is not None:
        headers["HX-Replace-Url"] = f"#{hash_}"
    text = _templates.get_template(template).render(values)
    return Response(text, media_type=MediaType.HTML, headers=headers)
