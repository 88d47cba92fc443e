"""Asks a process whether it is ready."""

import asyncio
import json

from holdfast_cli.ports import HOST

ANSWER_SECONDS_MAX = 2.0


async def not_ready(metrics_port: int) -> str | None:
    """Return why a process is not ready, or None when it is; its `/ready` tells."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            answer = await _get_ready(metrics_port)
    except TimeoutError:
        return f"/ready on port {metrics_port} does not answer"
    except OSError:
        return f"nothing answers on port {metrics_port} yet"
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] == [b"200"]:
        return None
    return _reasons(body)


async def _get_ready(port: int) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def _reasons(body: bytes) -> str:
    try:
        reasons = json.loads(body)["reasons"]
        return " ".join(map(str, reasons.values())).rstrip(".") or "it gives no reason"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it gives no reason"
