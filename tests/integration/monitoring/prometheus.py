"""A real Prometheus: found on this machine, started on a folder of the test, asked over its API."""

import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.integration.kill.processes import HOST, until

INTERVAL: Final = "1s"
NAMESPACE: Final = "holdfast"

INSTALL: Final = "install the package `prometheus` (as root, `make monitoring-test` does so)"


def program(name: str) -> str:
    """Find `prometheus` or `promtool`; without it a test is skipped here and fails in CI."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not here: {INSTALL}")
    if found is None:
        pytest.skip(f"{name} is not here: {INSTALL}")
    return found


PATIENCE_S: Final = 120.0
"""From the start of the load on, for all series to appear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series at one instant."""

    labels: Mapping[str, str]
    value: float


Eventually = Callable[..., list[Sample]]
"""`Prometheus.eventually` with the time by which all series should be there."""


class Prometheus:
    """One server on a folder and a port of its own."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self._folder = folder
        self._url = f"http://{HOST}:{port}"
        self._http = httpx.Client(base_url=self._url, trust_env=False, timeout=10)
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, config: Mapping[str, Any]) -> None:
        """Start it, and wait until it answers."""
        binary = program("prometheus")
        file = self._folder / "prometheus.yml"
        file.write_text(json.dumps(config))  # JSON is YAML, too
        with (self._folder / "prometheus.log").open("wb") as log:
            self._popen = subprocess.Popen(
                [
                    binary,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={self._folder / 'tsdb'}",
                    f"--web.listen-address={self._url.removeprefix('http://')}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        until(self._is_ready, "Prometheus became ready")

    def _is_ready(self) -> bool:
        assert self._popen is not None
        assert self._popen.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it."""
        self._http.close()
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def query(self, expr: str) -> list[Sample]:
        """Evaluate an expression now; raise when Prometheus does not understand it."""
        answer = self._http.get("/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {expr}"
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [Sample(labels={}, value=float(data["result"][1]))]
        return [
            Sample(labels=each["metric"], value=float(each["value"][1])) for each in data["result"]
        ]

    def rules(self) -> list[dict[str, Any]]:
        """Read every rule, with its health."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        """Read every target, with its health."""
        active: list[dict[str, Any]] = self._http.get("/api/v1/targets").json()["data"][
            "activeTargets"
        ]
        return active

    def eventually(
        self,
        expr: str,
        fits: Callable[[Sample], bool] = lambda sample: math.isfinite(sample.value),
        *,
        until_at: float,
    ) -> list[Sample]:
        """Ask until a series fits; fail with what was there instead.

        `until_at` is on the monotonic clock. An expression that is asked for later than that gets
        some seconds all the same.
        """
        give_up_at = max(until_at, time.monotonic() + 5)
        while True:
            samples = self.query(expr)
            if any(fits(sample) for sample in samples):
                return samples
            if time.monotonic() > give_up_at:
                what = "\n".join(f"  {s.labels} {s.value}" for s in samples) or "  nothing"
                raise AssertionError(f"{expr}\nreturns no series that fits, but\n{what}")
            time.sleep(0.2)


def scrape_config(targets: Mapping[str, Sequence[str]], rules: Sequence[Path]) -> dict[str, Any]:
    """Scrape the targets of each job. All get the label `namespace`, as they do in Kubernetes."""
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": list(addresses), "labels": {"namespace": NAMESPACE}}
                ],
            }
            for job, addresses in targets.items()
        ],
    }
