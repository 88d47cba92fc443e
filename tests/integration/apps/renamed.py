"""A release in which the report's workflow is another function: its name in records is the same."""

from collections.abc import Generator
from typing import Any

from holdfast import Context, Resonate
from holdfast_worker.apps import reports


def wrapped(ctx: Context, request: dict[str, str]) -> Generator[Any, Any, dict[str, object]]:
    return (yield from reports.generate_report(ctx, request))


def register(resonate: Resonate) -> None:
    resonate.register("generateReport", wrapped)
    resonate.register("validateRequest", reports.validate_request)
    resonate.register("generateFile", reports.generate_file)
    resonate.register("notifyUser", reports.notify_user)
