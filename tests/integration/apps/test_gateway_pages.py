"""What the gateway says about itself: pages, probes, request ids, metrics."""

import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from holdfast_gateway.app import create_app
from holdfast_gateway.settings import GatewaySettings
from tests.integration.apps.curl import curl_request
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World


async def test_the_index_lists_what_is_there(system: System) -> None:
    answer = await system.http.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "curl -X POST http://gateway/orders" in answer.text
    assert 'href="/schema"' in answer.text


async def test_the_curl_lines_of_the_index_work(system: System) -> None:
    page = (await system.http.get("/")).text
    lines = [unescape(line) for line in re.findall(r"<pre>(.*?)</pre>", page)]

    codes = [(await system.http.send(curl_request(line))).status_code for line in lines]

    # There is no such job to approve or to look at, and no such report.
    assert codes == [202, 200, 202, 404, 404, 200, 404, 200, 200, 200, 200, 200]
    for promise_id in ("order/ord-index-1", "one", "checkout/buy-1"):
        await system.outcome(promise_id)


async def test_long_lines_of_the_index_wrap_instead_of_scrolling(system: System) -> None:
    style = (await system.http.get("/")).text.partition("<style>")[2].partition("</style>")[0]

    (pre,) = re.findall(r"(?m)^pre \{(.*)\}$", style)
    assert "white-space: pre-wrap" in pre
    assert "overflow-wrap: anywhere" in pre  # a JSON body has no blanks to break at


@pytest.mark.parametrize("path", ["/reports", "/shop"])
async def test_pages_allow_scripts_of_their_own_only(system: System, path: str) -> None:
    answer = await system.http.get(path)

    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?! src=)|<style|style=| on[a-z]+=", answer.text)
    sources = re.findall(r"""(?:src|href)=["'](/static/[^"']+)["']""", answer.text)
    assert len(sources) == 3
    for source in sources:
        found = await system.http.get(source)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]


@pytest.mark.parametrize("name", ["none.js", "..%2F__init__.py", "%2Fetc%2Fpasswd"])
async def test_only_files_for_browsers_are_served(system: System, name: str) -> None:
    answer = await system.http.get(f"/static/{name}")

    assert answer.status_code == 404
    assert answer.json()["code"] == "file_not_found"


async def test_what_a_workflow_says_cannot_smuggle_markup_into_a_page(system: System) -> None:
    markup = "<img src=x onerror=alert(1)>"
    await system.resonate.promises.create("checkout/bad")
    await system.resonate.promises.reject("checkout/bad", ValueError(markup))
    await system.resonate.promises.create("report/bad")
    await system.resonate.promises.reject("report/bad", ValueError(markup))

    for path in ("/shop/progress/bad", "/reports/progress/bad", f"/shop/progress/{markup}"):
        answer = await system.http.get(path)
        assert answer.status_code == 200
        assert "<img" not in answer.text


@pytest.mark.parametrize("path", ["/", "/schema"])
async def test_pages_need_nothing_from_elsewhere(system: System, path: str) -> None:
    text = (await system.http.get(path)).text

    assert "<script" not in text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text)
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text


async def test_a_host_header_cannot_smuggle_markup_into_the_index(system: System) -> None:
    answer = await system.http.get("/", headers={"host": "x<script>alert(1)</script>"})

    assert "<script" not in answer.text


async def test_the_schema_describes_every_route(system: System) -> None:
    document = (await system.http.get("/schema/openapi.json")).json()
    page = (await system.http.get("/schema")).text

    assert document["openapi"].startswith("3.1")
    operations = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert operations == {
        ("POST", "/orders"),
        ("GET", "/orders/{order_id}/status"),
        ("POST", "/jobs"),
        ("POST", "/jobs/aggregate"),
        ("GET", "/jobs/{job_id}"),
        ("POST", "/webhooks/{service}"),
        ("POST", "/api/reports"),
        ("GET", "/api/status/{report_id}"),
        ("GET", "/reports/{file}"),
        ("POST", "/begin"),
        ("GET", "/wait"),
        ("POST", "/buy/{key}"),
        ("POST", "/cancel/{key}"),
        ("GET", "/status/{key}"),
        ("POST", "/v1/promises"),
        ("GET", "/v1/promises"),
        ("GET", "/v1/promises/{promise_id}"),
        ("POST", "/v1/promises/{promise_id}/resolve"),
        ("POST", "/v1/promises/{promise_id}/reject"),
        ("POST", "/v1/promises/{promise_id}/cancel"),
        ("GET", "/v1/schedules"),
        ("POST", "/v1/schedules"),
        ("GET", "/v1/schedules/{schedule_id}"),
        ("DELETE", "/v1/schedules/{schedule_id}"),
        ("POST", "/v1/schedules/{schedule_id}/pause"),
        ("POST", "/v1/schedules/{schedule_id}/resume"),
        ("POST", "/v1/schedules/{schedule_id}/trigger"),
        ("GET", "/v1/tasks"),
        ("GET", "/v1/tasks/{task_id}"),
        ("POST", "/v1/tasks/{task_id}/halt"),
        ("POST", "/v1/tasks/{task_id}/continue"),
        ("POST", "/v1/workflows/{name}"),
        ("GET", "/v1/workflows/{name}/{workflow_id}"),
        ("GET", "/v1/workflows/{name}/{workflow_id}/events"),
        ("GET", "/v1/groups"),
        ("GET", "/v1/groups/{group}"),
        ("GET", "/v1/groups/{group}/members"),
    }
    for method, path in operations:
        assert f"{method} {path}" in page
    body = document["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["schema"]["properties"]) == {"id", "items", "customer"}


async def test_probes_are_answered(system: System) -> None:
    health = await system.http.get("/health")
    ready = await system.http.get("/ready")

    assert (health.status_code, health.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": {}})


async def test_a_gateway_that_is_not_ready_says_why(system: System) -> None:
    def not_ready() -> Mapping[str, str]:
        return {"store": "The promise store cannot be reached."}

    app: Any = create_app(GatewaySettings(), system.resonate, not_ready=not_ready)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        ready = await http.get("/ready")

    assert ready.status_code == 503
    assert ready.json() == {"status": "not ready", "reasons": not_ready()}


async def test_a_request_keeps_the_id_that_it_came_with(system: System) -> None:
    answer = await system.http.get("/nothing", headers={"X-Request-Id": "abc-1"})

    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.json()["requestId"] == "abc-1"


async def test_a_request_without_an_id_gets_one(system: System) -> None:
    first, second = [await system.http.get("/health") for _ in range(2)]

    assert re.fullmatch(r"[0-9a-f]{32}", first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def requests_counted(method: str, path: str, status: str) -> float:
    labels = {"method": method, "path": path, "status": status}
    return REGISTRY.get_sample_value("holdfast_gateway_requests_total", labels) or 0


async def test_requests_are_counted_by_route_and_never_by_id(system: System) -> None:
    route = ("GET", "/orders/{order_id}/status", "404")
    before = requests_counted(*route), requests_counted("other", "unmatched", "404")

    await system.http.get("/orders/one/status")
    await system.http.get("/orders/t%2Fwo/status")
    await system.http.request("BREW", "/coffee")

    after = requests_counted(*route), requests_counted("other", "unmatched", "404")
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)


async def test_probes_are_not_counted_among_the_requests(system: System) -> None:
    """A gateway that starts answers its probes with 503; that is no error of a caller's request."""
    probes = [("GET", path, status) for path in ("/health", "/ready") for status in ("200", "503")]

    await system.http.get("/health")
    await system.http.get("/ready")

    assert [requests_counted(*probe) for probe in probes] == [0] * 4


async def test_applications_can_be_mounted_below_a_prefix(tmp_path: Path, world: World) -> None:
    settings = GatewaySettings(apps_prefix="/apps")
    async with System(tmp_path, world, settings=settings) as system:
        order = {
            "id": "a/b",
            "items": [{"sku": "mug", "qty": 1, "price": 5}],
            "customer": {"id": "c"},
        }
        accepted = await system.http.post("/apps/orders/orders", json=order)
        await system.outcome("order/a/b")
        status = await system.http.get(accepted.json()["statusUrl"])
        job = await system.http.post("/apps/jobs/jobs", json={"accountId": "acct-1"})
        job_status = await system.http.get(f"/apps/jobs/jobs/{job.json()['id']}")
        at_root = await system.http.post("/orders", json=order)

    assert accepted.json()["statusUrl"] == "/apps/orders/orders/a%2Fb/status"
    assert status.json()["status"] == "done"
    assert job_status.status_code == 200
    assert at_root.status_code == 404
