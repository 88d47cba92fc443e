"""Phase 1: everything is installed, runs under the strictest rules, and passes its own tests."""

import json
import time
import uuid

import pytest
import yaml

from tests.e2e.client import Gateway
from tests.e2e.cluster import ROOT
from tests.e2e.deployment import Deployment
from tests.e2e.figures import Figures
from tests.e2e.load import expected
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(900)]

COMPONENTS = ["gateway", "operator", "store", "worker"]


def test_the_first_order_is_done(
    deployment: Deployment, gateway: Gateway, figures: Figures
) -> None:
    order_id = f"first-{uuid.uuid4()}"

    assert gateway.post_order(order_id).status_code == 202
    done = until(
        lambda: _settled(gateway.order_status(order_id)), "the first order is done", seconds=180
    )

    assert done == {"code": 200, "status": "done", "result": expected(order_id)}
    seconds = time.monotonic() - deployment.begun_at
    figures.add("from the first helm command to the first order done", f"{seconds:.1f} s")


def test_every_component_runs_from_the_images_that_were_built(
    deployment: Deployment, figures: Figures
) -> None:
    pods = [pod for pod in deployment.pods() if pod.is_ready and not pod.is_leaving]
    images = {pod.image: pod.image_id for pod in pods}

    assert sorted({pod.component for pod in pods}) == COMPONENTS
    assert set(images) <= set(deployment.images.values())
    assert all(images.values()), "every image has a digest"
    for image, digest in sorted(images.items()):
        figures.add(f"image {image}", digest.rpartition("@")[2])


def test_the_namespace_refuses_what_is_not_restricted(deployment: Deployment) -> None:
    """The label works, so that the pods that do run prove that they keep to the rules."""
    image = deployment.images["holdfast-e2e"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lax"},
        "spec": {"containers": [{"name": "lax", "image": image}]},
    }

    with pytest.raises(AssertionError, match="violates PodSecurity"):
        deployment.kubectl("create", "--filename", "-", stdin=json.dumps(pod))


def test_the_charts_own_tests_pass(deployment: Deployment) -> None:
    said = deployment.helm("test", "holdfast", "--timeout", "5m")

    assert "Phase:          Succeeded" in said, said
    assert "Failed" not in said, said


def test_the_verify_container_sees_an_order_and_a_job(deployment: Deployment) -> None:
    """The same Job as in `skaffold verify`, filled in as Skaffold does."""
    (verification,) = deployment.skaffold.verifications
    job = yaml.safe_load((ROOT / verification.job).read_text())
    job["metadata"]["name"] = verification.name
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["name"] == verification.container
    container["image"] = deployment.images[verification.image]

    deployment.kubectl("create", "--filename", "-", stdin=json.dumps(job))
    status = until(
        lambda: _ended(deployment, verification.name), "the verification ended", seconds=300
    )

    log = deployment.kubectl("logs", f"job/{verification.name}")
    assert status == "Complete", log
    assert [line.split(":")[0] for line in log.splitlines()] == ["verify", *["ok"] * 4], log


def _settled(status: dict[str, object]) -> dict[str, object] | None:
    return None if status["status"] == "processing" else status


def _ended(deployment: Deployment, job: str) -> str | None:
    conditions = deployment.get("job", job)["status"].get("conditions", [])
    ended = [c["type"] for c in conditions if c["status"] == "True"]
    return next((t for t in ended if t in {"Complete", "Failed"}), None)
