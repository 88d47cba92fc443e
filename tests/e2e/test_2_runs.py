"""Phase 2: the examples, through REST."""

import uuid
from typing import Any

import pytest

from tests.e2e.client import Gateway
from tests.e2e.deployment import Deployment
from tests.e2e.evidence import collect, judge
from tests.e2e.load import unfinished
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(300)]


def test_an_order_placed_twice_is_processed_once(deployment: Deployment, gateway: Gateway) -> None:
    order_id = f"twice-{uuid.uuid4()}"

    answers = [gateway.post_order(order_id) for _ in range(2)]
    left = unfinished(gateway, [order_id], seconds=120)

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["statusUrl"] == f"/orders/{order_id}/status"
    assert left == {}
    verdict = judge(collect(deployment), [order_id], kills=[])
    assert (verdict.lost, verdict.doubled, verdict.bodies) == ({}, {}, 5)


@pytest.mark.parametrize("approved", [True, False])
def test_a_job_ends_as_the_person_decides(gateway: Gateway, approved: bool) -> None:  # noqa: FBT001 - a person's answer
    job_id = gateway.start_job(account="acct-1", key=str(uuid.uuid4()))
    before = gateway.job_status(job_id)

    until(
        lambda: gateway.approve(job_id, approved=approved).status_code == 204,
        f"{job_id} asks for its approval",
    )
    end = until(lambda: _settled(gateway.job_status(job_id, wait_s=5)), f"{job_id} ended")

    assert before == {"code": 200, "id": job_id, "status": "processing"}
    if approved:
        assert end["status"] == "done"
        assert end["result"]["result"]["accountId"] == "acct-1"
    else:
        assert (end["status"], end["error"]) == ("rejected", "rejected")


def test_what_cannot_be_is_refused(gateway: Gateway) -> None:
    unknown = str(uuid.uuid4())

    assert gateway.order_status(unknown) == {"code": 404, "status": "not_found"}
    assert gateway.job_status(f"job/{unknown}")["code"] == 404
    assert gateway.approve(f"job/{unknown}").status_code == 404
    flawed = gateway.post_order("")
    assert flawed.status_code == 400
    assert flawed.json() == {"error": "Missing required order fields"}


def _settled(status: dict[str, Any]) -> dict[str, Any] | None:
    return None if status["status"] == "processing" else status
