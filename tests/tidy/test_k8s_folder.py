"""What lies in k8s/ is what Kubernetes and our own schema accept."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.schemas import VERSIONS, builtin_flaws, custom_flaws, is_builtin
from tests.e2e.killing import KILL

ROOT = Path(__file__).parents[2]
MANIFESTS = [ROOT / "k8s" / "verify-job.yaml", *sorted(ROOT.glob("k8s/workergroups/*.yaml"))]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: str(file.name))
def test_manifests_are_valid_in_the_oldest_and_the_newest_kubernetes(file: Path) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(file.read_text()))

    assert documents
    for document in documents:
        if is_builtin(document):
            for version in (VERSIONS[0], VERSIONS[-1]):
                assert builtin_flaws(document, version) == []
        else:
            assert custom_flaws(document) == []


def test_a_deployment_that_is_scaled_does_not_say_its_replicas() -> None:
    """Applying the file again would undo what the operator decided."""
    for file in MANIFESTS:
        for document in yaml.safe_load_all(file.read_text()):
            assert document["kind"] != "Deployment" or "replicas" not in document["spec"]


def test_the_script_that_kills_is_a_posix_script_and_kills_as_the_tests_do() -> None:
    script = ROOT / "k8s" / "kill.sh"
    checked = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    usage = subprocess.run(["sh", script], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert (usage.returncode, usage.stdout) == (2, "")
    assert "k8s/kill.sh --namespace" in usage.stderr
    (program,) = re.findall(r"^program='(.*?)'$", script.read_text(), re.MULTILINE | re.DOTALL)
    tests_own = KILL.replace("print(time.time_ns() // 1_000_000, flush=True)\n", "")
    assert program.split() == tests_own.split()


def test_what_the_folder_has_is_in_its_readme() -> None:
    readme = (ROOT / "k8s" / "README.md").read_text()

    for entry in (ROOT / "k8s").iterdir():
        if entry.name != "README.md":
            assert f"({entry.name}" in readme, entry.name
