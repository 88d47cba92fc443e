"""Stores behind TLS: the system's authorities decide whom the library trusts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast import errors
from holdfast.core.requests import PromiseGet
from holdfast.rpc import dialing
from holdfast.v1 import workers_pb2 as pb
from tests.integration.rpc.support import join, until

# A key that protects nothing, for `localhost`, made once with `openssl req -x509 -days 36500`.
KEY = b"""\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGJzZUKD5IroE+i/p
mzcqvxBep9RrvgeXbgKK+QEmKnuhRANCAATO90Q98GAzO1wy7KUm5l0acXJM0rQs
quf+LofSl6kRsSuWj6h9rcz0Uus1p/MPZfbuhVHy47cpq7pWDFEZQcw+
-----END PRIVATE KEY-----
"""
CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUGThH9VPjy09NFKQS6J8AjZ3tPewwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTEwMzYxMVoYDzIxMjYxMDI4
MTAzNjExWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATO90Q98GAzO1wy7KUm5l0acXJM0rQsquf+LofSl6kRsSuWj6h9rcz0
Uus1p/MPZfbuhVHy47cpq7pWDFEZQcw+o28wbTAdBgNVHQ4EFgQUpOBeYNGC+sP+
TGhqzZ7z2wa3xEkwHwYDVR0jBBgwFoAUpOBeYNGC+sP+TGhqzZ7z2wa3xEkwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAICdal18bfqEkPtULMQGLCQKOpkrgC3MxXYtEFLbkyfHAiEA
32Hmu0LJrl1triGm+6BjrMq/mEt1KVAil6AJxywNYeg=
-----END CERTIFICATE-----
"""


@contextlib.asynccontextmanager
async def secured() -> AsyncIterator[str]:
    """Serve a welcome over TLS."""

    async def welcome(_requests: object, context: Any) -> None:
        await context.write(pb.ConnectResponse(welcome=pb.Welcome()).SerializeToString())
        await asyncio.Event().wait()

    handler: Any = grpc.stream_stream_rpc_method_handler(welcome)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("holdfast.v1.Workers", {"Connect": handler}),)
    )
    credentials = grpc.ssl_server_credentials([(KEY, CERTIFICATE)])
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield f"grpcs://localhost:{port}"
    finally:
        await server.stop(0)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the certificate one of the system's authorities."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(CERTIFICATE)
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))


@pytest.mark.usefixtures("trusted")
async def test_an_authority_of_the_system_is_trusted() -> None:
    async with secured() as url, join(url, connected=False) as (_, mailbox):
        await until(mailbox.connected.wait())

    assert mailbox.connections == 1


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_must_be_for_the_name_and_not_for_what_it_stands_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The certificate is good for the address at which the other name is found."""

    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(dialing, "look_up", look_up)
    async with secured() as url:
        async with join(url, connected=False) as (_, mailbox):
            await until(mailbox.connected.wait())
        other = url.replace("localhost", "store.test")
        async with join(other, connected=False) as (store, stranger):
            with pytest.raises(errors.ServerUnavailable, match=r"store\.test.*127\.0\.0\.1"):
                await until(store.submit([PromiseGet(id="a")], timeout=1))

    assert stranger.connections == 0


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    async with secured() as url, join(url, connected=False) as (store, mailbox):
        with pytest.raises(errors.ServerUnavailable):
            await until(store.submit([PromiseGet(id="a")], timeout=1))

    assert mailbox.connections == 0
