"""The shop behind a plain ASGI function: no framework, and the same workflow."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast import PromiseNotFound, Resonate

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def shop(resonate: Resonate) -> Asgi:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive  # whoever buys here buys a widget
        match scope["method"], scope["path"].split("/"):
            case "POST", ["", "buy", key]:
                options = resonate.options(target="workers")
                await resonate.begin_rpc(f"checkout/{key}", "oneClickBuy", "widget", key, options)
                status, body = 200, {"status": "pending", "key": key}
            case "POST", ["", "cancel", key]:
                await resonate.promises.resolve(f"cancel/{key}")
                status, body = 200, {"status": "ok"}
            case "GET", ["", "status", key]:
                try:
                    promise = await resonate.promises.get(f"checkout/{key}")
                    done = {"status": "done", "result": promise.value}
                    status, body = 200, {"status": "pending"} if promise.is_pending else done
                except PromiseNotFound:
                    status, body = 404, {"status": "not_found"}
            case _:
                status, body = 404, {"error": "nothing here"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    return app
