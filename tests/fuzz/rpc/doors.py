"""Every method that the store serves, found in its contract, so that none is forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf import message_factory
from google.protobuf.message import Message

from holdfast.v1 import (
    admin_pb2,
    externalscaler_pb2,
    promises_pb2,
    schedules_pb2,
    tasks_pb2,
    workers_pb2,
)

MODULES: Final = (
    *(promises_pb2, tasks_pb2, schedules_pb2),
    *(admin_pb2, externalscaler_pb2, workers_pb2),
)


@dataclass(frozen=True, slots=True)
class Door:
    """One method."""

    path: str
    request: type[Message]
    streams_in: bool
    streams_out: bool

    @property
    def name(self) -> str:
        """`Service/Method`."""
        return self.path.rpartition(".")[2]


def doors() -> Sequence[Door]:
    """List all of them."""
    return [
        Door(
            f"/{service.full_name}/{method.name}",
            message_factory.GetMessageClass(method.input_type),
            method.client_streaming,
            method.server_streaming,
        )
        for module in MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
