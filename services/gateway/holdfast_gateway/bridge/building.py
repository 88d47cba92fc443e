"""Puts the parts of the bridge together, and takes them apart in order."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from holdfast.rpc import Admin, Calls
from holdfast_chassis.listen import Address
from holdfast_chassis.tokens import Verifier
from holdfast_gateway.bridge.app import Bridge, BridgeLimits
from holdfast_gateway.bridge.cors import Cors
from holdfast_gateway.bridge.operations import Operations, OperationStore
from holdfast_gateway.bridge.polling import MemberStore, Polls
from holdfast_gateway.bridge.posting import HttpPost, PostLimits
from holdfast_gateway.bridge.pushing import Pushes, PushLimits
from holdfast_gateway.bridge.service import Service
from holdfast_gateway.bridge.settings import BridgeSettings
from holdfast_gateway.encryption import Encryption
from holdfast_gateway.metrics import BRIDGE
from holdfast_gateway.serving import serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The ways to the store: the shared stream, plain calls, and streams of members."""

    shared: OperationStore
    calls: Calls
    admin: Admin
    open_member: Callable[[], MemberStore]


class _Url:
    """The bridge's address as workers reach it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self) -> str:
        return self.url


@contextlib.asynccontextmanager
async def serving_bridge(
    settings: BridgeSettings,
    stores: Stores,
    *,
    verifier: Verifier | None,
    not_ready: Callable[[], Mapping[str, str]],
    body_seconds: float,
    stop_seconds: float,
    connections_max: int,
    encryption: Encryption | None = None,
) -> AsyncIterator[Address]:
    """Serve the bridge inside the block; yield its address."""
    url = _Url(settings.bridge_url)
    polls = Polls(
        stores.open_member,
        server_url=url,
        most=settings.bridge_polls_max,
        buffer=settings.bridge_poll_buffer,
    )
    operations = Operations(
        stores.shared,
        stores.calls,
        stores.admin,
        sleeps_have_targets=settings.bridge_sleeps_have_targets,
    )
    bridge = Bridge(
        service=Service(operations, verifier),
        polls=polls,
        verifier=verifier,
        cors=Cors(settings.bridge_cors_origins),
        limits=BridgeLimits(
            body_bytes_max=settings.bridge_body_bytes_max,
            body_seconds=body_seconds,
            keep_alive_seconds=settings.bridge_poll_keep_alive_seconds,
            send_seconds=settings.bridge_poll_send_seconds,
        ),
        not_ready=not_ready,
        is_serving=stores.calls.is_serving,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(polls.close)
        if settings.bridge_push:
            await _pushing(stack, settings, stores, url, stop_seconds=stop_seconds)
        serving_it = serving(
            bridge,
            settings.bridge_listen,
            stop_seconds=stop_seconds,
            body_seconds=body_seconds,
            encryption=encryption,
            name=BRIDGE,
            connections_max=connections_max,
        )
        address = await stack.enter_async_context(serving_it)
        scheme = "http" if encryption is None else "https"
        url.url = url.url or f"{scheme}://localhost:{address.port}"
        # Who polls is sent away first: else the server would wait for them.
        stack.callback(polls.end_all)
        yield address


async def _pushing(
    stack: contextlib.AsyncExitStack,
    settings: BridgeSettings,
    stores: Stores,
    url: _Url,
    *,
    stop_seconds: float,
) -> None:
    """Join the group of HTTP addresses until the stack ends."""
    token, header = settings.bridge_push_token, settings.bridge_push_header
    post = HttpPost(
        PostLimits(
            connect_seconds=settings.bridge_push_connect_seconds,
            total_seconds=settings.bridge_push_seconds,
            connections_max=settings.bridge_pushes_max,
            allow=settings.bridge_push_allow,
            deny=settings.bridge_push_deny,
        ),
        headers=[(header, f"Bearer {token}")] if token else (),
    )
    await stack.enter_async_context(post)
    limits = PushLimits(in_flight=settings.bridge_pushes_max)
    pushes = Pushes(stores.open_member(), post, server_url=url, limits=limits)
    await pushes.start()
    stack.push_async_callback(pushes.close, stop_seconds)
