"""What the pods of `helm test` run: one question about a running Holdfast, asked over REST.

`python check.py ready|order|job`; exits 1 with a sentence when the answer is not the expected one.
Standard library only, because it runs in the gateway's image.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

GATEWAY = os.environ["GATEWAY_URL"]
APPS_PREFIX = os.environ.get("APPS_PREFIX", "")
DEADLINE = time.monotonic() + float(os.environ.get("SECONDS_MAX", "100"))
PAUSE_SECONDS = 0.5
REQUEST_SECONDS_MAX = 15.0

TOTAL = 5998

# Whether it works is the question here, not who it is: its certificate may be for other names.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


def main() -> str:
    """Ask what the argument says; return what to print."""
    questions: dict[str, Callable[[], str]] = {"ready": ready, "order": order, "job": job}
    return questions[sys.argv[1]]()


def ready() -> str:
    """Wait until the gateway takes requests, which means that it reaches the store."""
    answer = call("/ready")
    if answer["status"] != "ready":
        raise SystemExit(f"The gateway is not ready: {answer}")
    return "The gateway is ready."


def order() -> str:
    """Place an order, and wait until workflow and db workers have done all of it."""
    order_id = f"helm-test-{uuid.uuid4()}"
    body = {
        "id": order_id,
        "items": [{"sku": "widget", "qty": 2, "price": 2999}],
        "customer": {"id": "helm-test", "email": "helm-test@example.com"},
    }
    call(prefix("orders") + "/orders", body)
    result = wait_until_done(prefix("orders") + f"/orders/{order_id}/status")
    if result["total"] != TOTAL:
        raise SystemExit(f"Order {order_id} has a wrong total: {result}")
    return f"Order {order_id} is done: {result}"


def job() -> str:
    """Start a job, approve it as a person would, and wait for its result."""
    # With the same key a request that is repeated because its answer was lost is the same job.
    headers = {"Idempotency-Key": f"helm-test-{uuid.uuid4()}"}
    job_id = call(prefix("jobs") + "/jobs", {"accountId": "acct-1"}, headers)["id"]
    approval = {"promiseId": f"approve/{job_id}", "approved": True}
    # The promise to approve appears when the job has got that far.
    call(prefix("jobs") + "/webhooks/approval", approval, again=HTTPStatus.NOT_FOUND)
    result = wait_until_done(prefix("jobs") + f"/jobs/{job_id}?wait=5")
    return f"Job {job_id} is done: {result}"


def prefix(app: str) -> str:
    """Return where an application is mounted."""
    return f"{APPS_PREFIX}/{app}" if APPS_PREFIX else ""


def wait_until_done(path: str) -> dict[str, Any]:
    """Ask for a status until it is `done`; return the result."""
    while True:
        answer = call(path)
        if answer["status"] == "done":
            result: dict[str, Any] = answer["result"]
            return result
        if answer["status"] != "processing" or time.monotonic() > DEADLINE:
            raise SystemExit(f"{path} did not get done: {answer}")
        time.sleep(PAUSE_SECONDS)


def call(
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    *,
    again: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE,
) -> dict[str, Any]:
    """Ask the gateway, again as long as it cannot be reached, says 503, or what `again` says."""
    request = urllib.request.Request(
        GATEWAY + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json", **(headers or {})},
    )
    while True:
        try:
            with urllib.request.urlopen(
                request, timeout=REQUEST_SECONDS_MAX, context=UNVERIFIED
            ) as answer:
                text = answer.read()
                parsed: dict[str, Any] = json.loads(text) if text else {}
                return parsed
        except urllib.error.HTTPError as error:
            if error.code not in {again, HTTPStatus.SERVICE_UNAVAILABLE}:
                raise SystemExit(f"{path} answered {error.code}: {error.read().decode()}") from None
            flaw = f"{path} still answers {error.code}: {error.read().decode()}"
        except OSError as error:
            flaw = f"{path} is not answered: {error}"
        if time.monotonic() > DEADLINE:
            raise SystemExit(flaw)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    print(main())
