"""Records, operations and answers never change, and are out of the garbage collector's way."""

from inspect import getmembers, isclass
from types import ModuleType

import pytest
from msgspec import Struct

from holdfast.core import records, requests


def structs_of(module: ModuleType) -> list[type[Struct]]:
    return [
        found
        for _, found in getmembers(module, isclass)
        if issubclass(found, Struct) and found.__module__ == module.__name__
    ]


@pytest.mark.parametrize(
    "struct", [*structs_of(records), *structs_of(requests)], ids=lambda struct: struct.__name__
)
def test_a_record_is_frozen_and_not_tracked(struct: type[Struct]) -> None:
    config = struct.__struct_config__

    assert config.frozen, "shared by all who read it"
    assert not config.gc, "a dozen for each operation would set off collections that find nothing"
