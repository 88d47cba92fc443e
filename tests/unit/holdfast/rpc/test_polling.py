"""Whether gRPC learns in time how to wait for the network, seen from a process of its own."""

import subprocess
import sys

import pytest

VARIABLE = "GRPC_EXPERIMENTS"

PROGRAM = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_EXPERIMENTS"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
import {package}
"""
"""Says what gRPC finds when it is imported, and ends there."""


def found_by_grpc(package: str, environment: dict[str, str]) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(package=package)],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("package", ["holdfast.rpc", "holdfast_store.rpc.server"])
def test_one_thread_is_chosen_before_grpc_is_imported(package: str) -> None:
    assert found_by_grpc(package, {}) == "-event_engine_client,-event_engine_listener"


@pytest.mark.parametrize("package", ["holdfast.rpc", "holdfast_store.rpc.server"])
def test_what_the_process_was_started_with_stays(package: str) -> None:
    assert found_by_grpc(package, {VARIABLE: "event_engine_client"}) == "event_engine_client"
