"""An HTTP client that holds every answer against the OpenAPI document of the gateway."""

import re
from typing import Any

import httpx
import jsonschema


class Documented:
    """Fails when an answer has a status, a type or a body that the document does not foresee."""

    def __init__(self, http: httpx.AsyncClient, document: dict[str, Any]) -> None:
        self._http = http
        self._document = document

    @classmethod
    async def by(cls, http: httpx.AsyncClient) -> "Documented":
        """Read the document."""
        return cls(http, (await http.get("/schema/openapi.json")).json())

    async def __call__(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request to a route of `/v1` and check its answer."""
        answer = await self._http.request(method, url, **options)
        self.check(method, url, answer)
        return answer

    def check(self, method: str, url: str, answer: httpx.Response) -> None:
        path = url.partition("?")[0]
        operation = self._operation(method, path)
        assert str(answer.status_code) in operation["responses"], (
            f"{method} {path} does not document {answer.status_code}: {answer.text}"
        )
        content = operation["responses"][str(answer.status_code)].get("content", {})
        if not content:
            assert answer.content == b""
            return
        kind = answer.headers["content-type"].partition(";")[0]
        schema = content[kind]["schema"] | {"components": self._document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        for template, item in self._document["paths"].items():
            pattern = re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in item:
                operation: dict[str, Any] = item[method.lower()]
                return operation
        raise AssertionError(f"{method} {path} is not documented")
