"""The forwarded port of the end-to-end tests comes back whenever kubectl goes."""

from pathlib import Path

import pytest

from tests.e2e.forwarding import GRACE_S, Forward
from tests.e2e.waiting import until
from tests.integration.tools.machine import machine_in


def test_a_forward_that_ends_is_started_again_on_the_same_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_in(tmp_path, monkeypatch)
    machine.install("kubectl", code=1)

    with Forward(["kubectl"], "holdfast-gateway", 8000) as forward:
        until(lambda: forward.starts >= 3, "kubectl is started again", seconds=20)

    port = forward.address.rpartition(":")[2]
    assert set(machine.asked) == {f"kubectl port-forward service/holdfast-gateway {port}:8000"}


def test_a_forward_that_hangs_is_ended_when_a_client_complains_but_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machine_in(tmp_path, monkeypatch)
    machine.install("kubectl", then="exec sleep 60")
    monkeypatch.setattr("tests.e2e.forwarding.GRACE_S", 3_600.0)

    with Forward(["kubectl"], "holdfast-gateway", 8000) as forward:
        until(lambda: forward.starts == 1, "kubectl is started", seconds=20)
        forward.renew()
        assert forward.starts == 1, f"within {GRACE_S} s nobody may end it"
        monkeypatch.setattr("tests.e2e.forwarding.GRACE_S", 0.0)
        forward.renew()
        until(lambda: forward.starts == 2, "kubectl is started again", seconds=20)
