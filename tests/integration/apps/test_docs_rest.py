"""The lines of the how-to page on REST, typed in their order."""

import re
from pathlib import Path

import httpx
import pytest

from tests.integration.apps.curl import curl_request
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Start

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "rest.md"
ADDRESS = "http://127.0.0.1:8000"  # as the page has it


def curl_lines() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith("curl")]


@pytest.mark.timeout(120)
async def test_every_line_of_the_page_does_what_the_page_says(start: Start, store_url: str) -> None:
    gateway = start("gateway", STORE_URL=store_url, LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0)
    await gateway.ready()
    base = f"http://{(await gateway.logged('gateway_started'))['address']}"
    answers: list[tuple[str, httpx.Response]] = []
    async with httpx.AsyncClient(timeout=SECONDS_MAX) as http:
        for line in curl_lines():
            request = curl_request(line.replace(ADDRESS, base))
            answers += [(line, await http.send(request))]

    assert len(answers) >= 8
    assert [(line, answer.text) for line, answer in answers if not answer.is_success] == []
    listed = next(answer for line, answer in answers if "tag=team" in line)
    assert [each["id"] for each in listed.json()["promises"]] == ["gate/1"]
