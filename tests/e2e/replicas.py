"""What is to be known of three stores on PostgreSQL, and of their database."""

import base64
from typing import Final

from tests.e2e.deployment import DATABASE_POD, Deployment

REPLICAS: Final = 3


def stores(deployment: Deployment) -> set[str]:
    """Ids of the stores that nobody told to go."""
    return {pod.uid for pod in deployment.pods("store") if not pod.is_leaving}


def ready_stores(deployment: Deployment) -> int:
    return sum(pod.is_ready and not pod.is_leaving for pod in deployment.pods("store"))


def revisions(deployment: Deployment) -> list[str]:
    """The migrations that ran on the store's database, as its server says."""
    question = "SELECT revision FROM schema_revisions ORDER BY revision"
    psql = ("psql", "-h", "/tmp", "-U", "store", "--tuples-only", "--no-align", "-c", question)
    return deployment.execute(DATABASE_POD, *psql).split()


def jobs_completed(deployment: Deployment, name: str) -> int:
    """How many hook Jobs have succeeded; each is deleted thereupon, and leaves its event."""
    job = f"involvedObject.kind=Job,involvedObject.name=holdfast-{name},reason=Completed"
    events = deployment.get("events", "--field-selector", job)["items"]
    return len({event["involvedObject"]["uid"] for event in events})


def check(deployment: Deployment) -> None:
    """Let the store's own check look at the live database."""
    pod = deployment.ready_pod("store")
    code, said, errors = deployment.attempt_in(pod.name, "holdfast-store", "check", timeout_s=300)
    assert code == 0, said + errors


def url(deployment: Deployment, role: str, name: str) -> str:
    """An address of the server on its own machine."""
    secret = deployment.get("secret", "dev-postgresql")["data"][f"{role}-password"]
    password = base64.b64decode(secret).decode()
    return f"postgresql://{role}:{password}@127.0.0.1/{name}"
