"""Installed Holdfasts: their namespaces, and the way to their gateways."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.client import Gateway
from tests.e2e.deployment import RELEASE, Deployment
from tests.e2e.forwarding import Forward

INSTALLED: list[Deployment] = []
"""Those whose namespaces exist now; what failed tests are explained by."""


@contextmanager
def in_namespace(deployment: Deployment) -> Iterator[Deployment]:
    """Make the namespace of a deployment; remove it afterwards unless E2E_KEEP is set."""
    deployment.create_namespace()
    INSTALLED.append(deployment)
    try:
        yield deployment
    finally:
        INSTALLED.remove(deployment)
        if not os.environ.get("E2E_KEEP"):
            deployment.delete_namespace()


@contextmanager
def gateway_of(deployment: Deployment) -> Iterator[Gateway]:
    """REST of a deployment, forwarded to this machine."""
    kubectl = deployment.cluster.kubectl_command("--namespace", deployment.namespace)
    with (
        Forward(kubectl, f"{RELEASE}-gateway", 8000) as forward,
        Gateway(lambda: forward.address, on_trouble=forward.renew) as gateway,
    ):
        yield gateway
