"""TLS and mTLS between real processes, with certificates that are replaced while they run."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import errors
from holdfast.core.requests import PromiseGet
from holdfast.rpc import Access, Admin
from holdfast_operator.store import replicas_of
from tests.integration.apps.processes import PORT_0, Process, Start, get_until
from tests.integration.auth.conftest import replace
from tests.integration.rpc.support import join, until
from tests.issuing import Authority, Files, Issuer

ORDER = {
    "id": "ord-1",
    "items": [{"sku": "mug", "qty": 2, "price": 2999}],
    "customer": {"id": "c-1", "email": "ada@example.com"},
}


def shown_by(address: str, *, verify: Authority, client: Files | None = None) -> bytes:
    """Connect anew; answer the certificate that the other side shows."""
    context = ssl.create_default_context(cafile=str(verify.path))
    context.set_alpn_protocols(["h2", "http/1.1"])
    if client is not None:
        context.load_cert_chain(client.cert, client.key)
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        found = secured.getpeercert(binary_form=True)
        assert found is not None
        return found


def der_of(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.cert.read_text())


async def address_of(process: Process) -> str:
    await process.ready()
    return str((await process.logged("store_listening"))["address"])


def access(authority: Authority, client: Files | None = None, **more: Any) -> Access:
    return Access(
        ca_file=str(authority.path),
        cert_file=None if client is None else str(client.cert),
        key_file=None if client is None else str(client.key),
        **more,
    )


async def members_at(url: str, given: Access) -> int:
    async with Admin(url, access=given) as admin:
        return len(await admin.list_members())


async def test_a_client_without_a_certificate_of_the_authority_is_refused(
    start: Start, tmp_path: Path
) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    server, client, stranger = ours.issue("server"), ours.issue("client"), theirs.issue("stranger")
    store = start(
        "store",
        TLS_CERT=str(server.cert),
        TLS_KEY=str(server.key),
        TLS_CLIENT_CA=str(ours.path),
    )
    url = f"grpcs://localhost:{(await address_of(store)).rpartition(':')[2]}"

    assert await members_at(url, access(ours, client)) == 0
    for refused in (access(ours), access(ours, stranger), access(theirs, client), Access()):
        with pytest.raises(errors.ServerUnavailable):
            await members_at(url, refused)
    with pytest.raises(errors.ServerUnavailable):
        await members_at(url.replace("grpcs", "grpc"), Access())


async def test_one_of_several_stores_is_asked_by_its_address_and_certified_by_its_name(
    start: Start, tmp_path: Path
) -> None:
    """The operator does that: behind the name there may be several, and it asks each."""
    authority = Authority(tmp_path)
    files = authority.issue("server", has_address=False)
    store = start("store", TLS_CERT=str(files.cert), TLS_KEY=str(files.key))
    port = (await address_of(store)).rpartition(":")[2]

    replicas = await replicas_of(f"grpcs://localhost:{port}")
    assert f"grpcs://127.0.0.1:{port}?server=localhost" in replicas
    assert await members_at(f"grpcs://127.0.0.1:{port}?server=localhost", access(authority)) == 0
    with pytest.raises(errors.ServerUnavailable):
        await members_at(f"grpcs://127.0.0.1:{port}", access(authority))
    with pytest.raises(errors.ServerUnavailable):
        await members_at(f"grpcs://127.0.0.1:{port}?server=elsewhere", access(authority))


async def test_a_certificate_that_was_replaced_is_shown_to_the_next_client(
    start: Start, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("server")
    store = start("store", TLS_CERT=str(files.cert), TLS_KEY=str(files.key))
    address = await address_of(store)
    url = f"grpcs://localhost:{address.rpartition(':')[2]}"

    async with join(url, access=access(authority)) as (kept, mailbox):
        first = await asyncio.to_thread(shown_by, address, verify=authority)
        old = der_of(files)
        authority.issue("server")
        second = await asyncio.to_thread(shown_by, address, verify=authority)
        files.cert.write_text("broken")
        third = await asyncio.to_thread(shown_by, address, verify=authority)
        await until(kept.submit([PromiseGet(id="a")]))

    assert first == old
    assert second not in (old, b"")
    assert third == second, "what cannot be used is not used"
    assert mailbox.connections == 1
    assert await members_at(url, access(authority)) == 0
    assert (await store.logged("certificate_unusable"))["level"] == "warning"


async def test_authorities_and_certificates_of_clients_are_replaced_too(
    start: Start, tmp_path: Path
) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    server = old.issue("server")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.path.read_bytes())
    store = start(
        "store", TLS_CERT=str(server.cert), TLS_KEY=str(server.key), TLS_CLIENT_CA=str(trusted)
    )
    url = f"grpcs://localhost:{(await address_of(store)).rpartition(':')[2]}"
    client = old.issue("client")

    before = await members_at(url, access(old, client))
    replace(trusted, new.path.read_bytes())
    with pytest.raises(errors.ServerUnavailable):
        await members_at(url, access(old, client))
    new.issue("client")  # in the place of the old one

    assert await members_at(url, access(old, client)) == before


@pytest.fixture
def gateway_files(tmp_path: Path) -> tuple[Authority, Files]:
    authority = Authority(tmp_path)
    return authority, authority.issue("server")


async def test_all_services_meet_over_tls_with_tokens(
    start: Start, keys: Path, issuer: Issuer, gateway_files: tuple[Authority, Files], tmp_path: Path
) -> None:
    """An order runs from REST over the gateway and the store to the workers and back."""
    authority, files = gateway_files
    client = authority.issue("client")
    token = tmp_path / "token"
    token.write_text(issuer.token(prefix=""))
    store = start(
        "store",
        AUTH_KEYS=str(keys),
        TLS_CERT=str(files.cert),
        TLS_KEY=str(files.key),
        TLS_CLIENT_CA=str(authority.path),
    )
    url = f"grpcs://localhost:{(await address_of(store)).rpartition(':')[2]}"
    way = {
        "STORE_URL": url,
        "STORE_TOKEN_FILE": str(token),
        "STORE_TLS_CA": str(authority.path),
        "STORE_TLS_CERT": str(client.cert),
        "STORE_TLS_KEY": str(client.key),
    }
    gateway = start(
        "gateway",
        LISTEN=PORT_0,
        BRIDGE_LISTEN=PORT_0,
        AUTH_KEYS=str(keys),
        TLS_CERT=str(files.cert),
        TLS_KEY=str(files.key),
        **way,
    )
    worker = start("worker", **way)
    db = start("db", DATABASE_URL=f"sqlite:///{tmp_path}/app.db", **way)
    for process in (gateway, worker, db):
        await process.ready()
    port = (await gateway.logged("gateway_started"))["address"].rpartition(":")[2]

    trust = ssl.create_default_context(cafile=str(authority.path))
    async with httpx.AsyncClient(
        verify=trust, base_url=f"https://localhost:{port}", timeout=30
    ) as http:
        accepted = await http.post("/orders", json=ORDER)
        status = await get_until(
            http, accepted.json()["statusUrl"], lambda answer: answer.json()["status"] == "done"
        )
        nameless = await http.get("/v1/promises/-?id=order/ord-1")
        bearer = {"authorization": f"Bearer {issuer.token(prefix='order/')}"}
        named = await http.get("/v1/promises/-?id=order/ord-1", headers=bearer)

    assert status.json()["status"] == "done"
    assert nameless.status_code == 401
    assert named.json()["state"] == "resolved"


def gateway_with(start: Start, files: Files, **settings: str) -> Process:
    """Start a gateway that is encrypted, and has no store to ask."""
    return start(
        "gateway",
        LISTEN=PORT_0,
        BRIDGE_LISTEN=PORT_0,
        STORE_URL="grpc://127.0.0.1:9",
        TLS_CERT=str(files.cert),
        TLS_KEY=str(files.key),
        **settings,
    )


async def addresses_of(gateway: Process) -> tuple[str, str]:
    """Wait for a gateway; answer where REST and the bridge are."""
    started = await gateway.logged("gateway_started")
    return started["address"], started["bridge_address"]


async def test_a_gateway_shows_a_new_certificate_to_the_next_client(
    start: Start, gateway_files: tuple[Authority, Files]
) -> None:
    authority, files = gateway_files
    addresses = await addresses_of(gateway_with(start, files))
    old = der_of(files)

    first = [await asyncio.to_thread(shown_by, each, verify=authority) for each in addresses]
    authority.issue("server")
    second = [await asyncio.to_thread(shown_by, each, verify=authority) for each in addresses]

    assert first == [old, old]
    assert second == [der_of(files)] * 2 != first


def client_context(authority: Authority, client: Files | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if client is not None:
        context.load_cert_chain(client.cert, client.key)
    return context


def session_with(
    address: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """Ask over a connection of its own whether somebody is there; `None` if it was refused."""
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            # By its address, for which a client names no server.
            context.wrap_socket(plain, server_hostname=host, session=session) as secured,
        ):
            # What a server refuses behind its handshake, a client learns when it reads.
            secured.sendall(b"GET /health HTTP/1.1\r\nhost: gateway\r\n\r\n")
            return secured.session if secured.recv(64).startswith(b"HTTP/1.1 200 ") else None
    except (ssl.SSLError, ConnectionError):
        return None


async def test_clients_of_a_gateway_show_certificates_where_it_asks_for_them(
    start: Start, tmp_path: Path
) -> None:
    """All but probes, which have a port of their own."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    server, client, stranger = ours.issue("server"), ours.issue("client"), theirs.issue("stranger")
    gateway = gateway_with(start, server, TLS_CLIENT_CA=str(ours.path))
    addresses = await addresses_of(gateway)
    metrics = (await gateway.logged("metrics_listening"))["address"]
    old_fashioned = client_context(ours, client)
    old_fashioned.maximum_version = ssl.TLSVersion.TLSv1_2

    accepted = client_context(ours, client)
    for address in addresses:
        assert await asyncio.to_thread(session_with, address, accepted) is not None
        for refused in (client_context(ours), client_context(ours, stranger), old_fashioned):
            assert await asyncio.to_thread(session_with, address, refused) is None
    async with httpx.AsyncClient(base_url=f"http://{metrics}") as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/ready")).status_code == 503, "there is no store"


async def test_authorities_of_a_gateways_clients_are_replaced_too(
    start: Start, tmp_path: Path
) -> None:
    """Whoever is of the old one is refused from then on, also with a session from before."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    server = old.issue("server")
    before, after = (client_context(old, each.issue("client")) for each in (old, new))
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.path.read_bytes())
    gateway = gateway_with(start, server, TLS_CLIENT_CA=str(trusted))

    for address in await addresses_of(gateway):
        replace(trusted, old.path.read_bytes())
        session = await asyncio.to_thread(session_with, address, before)
        assert session is not None
        assert await asyncio.to_thread(session_with, address, after) is None
        for content in (new.path.read_bytes(), b"broken, and not used"):
            replace(trusted, content)
            assert await asyncio.to_thread(session_with, address, before, session) is None
            assert await asyncio.to_thread(session_with, address, after) is not None
    assert (await gateway.logged("certificate_unusable"))["level"] == "warning"
