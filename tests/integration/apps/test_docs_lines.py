"""The lines of the how-to page on the applications, typed in their order."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from tests.integration.apps.curl import curl_request
from tests.integration.apps.processes import SECONDS_MAX, Process, Start, get_until

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "applications.md"
ADDRESS = "http://127.0.0.1:8000"  # as the page has it


def curl_lines() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith("curl")]


async def logged(program: Process, text: str) -> None:
    """Return when a step has told something."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            if any(text in event["event"] for event in program.events()):
                return
            await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
async def test_every_line_of_the_page_does_what_the_page_says(start: Start) -> None:
    program = start("apps", HOLDFAST_WORKER_DELAY_FACTOR="0", HOLDFAST_DB_DELAY_FACTOR="0")
    base = f"http://{(await program.logged('apps_started'))['address']}"
    answers: list[tuple[str, httpx.Response]] = []
    ids = {"rpt_ID": "", "job/ID": ""}
    async with httpx.AsyncClient(timeout=SECONDS_MAX) as http:
        for line in curl_lines():
            for placeholder, found in ids.items():
                line = line.replace(placeholder, found or placeholder)  # noqa: PLW2901
            answer = await http.send(curl_request(line.replace(ADDRESS, base)))
            answers.append((line, answer))
            if answer.is_success and "/api/reports" in line:
                ids["rpt_ID"] = answer.json()["id"]
                status = f"{base}/api/status/{ids['rpt_ID']}"
                await get_until(http, status, lambda answer: "done" in answer.text)
            if answer.is_success and "accountId" in line:
                ids["job/ID"] = answer.json()["id"]
                await logged(program, "processed account")

    assert len(answers) == 13
    assert [(line, answer.text) for line, answer in answers if not answer.is_success] == []
