"""Settings of the operator: `HOLDFAST_OPERATOR_*`."""

import re
from dataclasses import dataclass
from typing import Final

from holdfast_chassis.access import StoreAccessSettings
from holdfast_chassis.settings import ProcessSettings, integer, setting

NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def namespace(value: str) -> str:
    """Accept the name of a Kubernetes namespace."""
    if NAMESPACE.fullmatch(value):
        return value
    msg = (
        "must be the name of one namespace: at most 63 lower-case letters, digits and hyphens,"
        " such as holdfast"
    )
    raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings(StoreAccessSettings, ProcessSettings):
    """What whoever runs the operator may choose."""

    store_url: str = setting(
        "grpc://127.0.0.1:50051", doc="The promise store; several addresses with commas between."
    )
    namespace: str | None = setting(
        None,
        doc="The namespace whose WorkerGroups are served;"
        " unset: the namespace of the pod, or the one that the kubeconfig names.",
        parse=namespace,
    )
    interval_ms: int = setting(
        1_000,
        doc="Shortest time in milliseconds between two reports of the store,"
        " and longest time between two looks at what the passing of time changes.",
        parse=integer(100, 60_000),
    )
    status_interval_ms: int = setting(
        5_000,
        doc="Shortest time in milliseconds between two writes of a status in which nothing but"
        " numbers changed.",
        parse=integer(100, 600_000),
    )
    resync_seconds: int = setting(
        60,
        doc="Seconds between two full listings, which repair what a broken watch missed.",
        parse=integer(5, 3_600),
    )
    request_seconds: int = setting(
        10, doc="How long the Kubernetes API may take to answer.", parse=integer(1, 300)
    )
