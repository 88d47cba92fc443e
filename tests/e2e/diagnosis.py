"""What somebody needs who looks into a failed run, once the namespace is gone."""

from pathlib import Path
from typing import Final

from tests.e2e.commands import CommandFailed, attempt
from tests.e2e.deployment import Deployment

LINES: Final = 400
SHOWN: Final = 60
QUESTIONS: Final = {
    "objects": ("get", "all,pvc,networkpolicy,workergroups.holdfast.dev", "--output", "wide"),
    "events": ("get", "events", "--sort-by", ".lastTimestamp"),
    "worker groups": ("describe", "workergroups.holdfast.dev"),
    "pods": ("describe", "pods"),
}


def write(deployment: Deployment, file: Path) -> str:
    """Write everything to a file; return the part that fits into a report."""
    sections = {name: _ask(deployment, *question) for name, question in QUESTIONS.items()}
    for pod in _names(deployment):
        for name, more in ((f"log of {pod}", ()), (f"earlier log of {pod}", ("--previous",))):
            arguments = ("logs", pod, "--all-containers", "--tail", str(LINES), *more)
            sections[name] = _ask(deployment, *arguments)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(f"=== {name}\n{text}" for name, text in sections.items()))
    shown = {name: text for name, text in sections.items() if name in {"objects", "events"}}
    shown |= {name: text for name, text in sections.items() if name.startswith("log of")}
    parts = [
        f"--- {name}\n{_tail(text, 20 if 'log' in name else SHOWN)}" for name, text in shown.items()
    ]
    return "\n".join([f"all of it: {file}", *parts])


def _names(deployment: Deployment) -> list[str]:
    return _ask(deployment, "get", "pods", "--output", "name").split()


def _ask(deployment: Deployment, *arguments: str) -> str:
    """Ask kubectl; a question that fails says so instead of hiding the other answers."""
    command = deployment.cluster.kubectl_command("--namespace", deployment.namespace, *arguments)
    try:
        code, output, errors = attempt(*command, timeout_s=30)
    except CommandFailed as error:
        return str(error)
    return output if code == 0 else errors


def _tail(text: str, lines: int) -> str:
    return "\n".join(text.splitlines()[-lines:])
