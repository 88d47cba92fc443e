"""Settings of the gateway: `HOLDFAST_GATEWAY_*`."""

import re
from dataclasses import dataclass

from holdfast_chassis.access import StoreAccessSettings
from holdfast_chassis.guarding import AuthSettings, TlsSettings
from holdfast_chassis.listen import Address
from holdfast_chassis.settings import integer, number, setting
from holdfast_gateway.bridge.settings import BridgeSettings
from holdfast_gateway.rates import Rates, parse_networks
from holdfast_gateway.signatures import parse_secrets

BODY_BYTES_MAX = 1024 * 1024
BODY_SECONDS = 30.0
CONNECTIONS_MAX = 6_000
RATE_BURST = 200
WAIT_SECONDS_MAX = 60.0  # proxies cut what is silent for longer
WAITS_MAX = 1_000
EVENTS_CLIENTS_MAX = 5_000


def url_prefix(value: str) -> str:
    """Accept nothing, `/apps`, `/a/b`: what is put in front of every application's paths."""
    if re.fullmatch(r"(/[A-Za-z0-9_-]+)*", value):
        return value
    msg = "must be empty or begin with a slash and end without one, such as /apps"
    raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings(StoreAccessSettings, AuthSettings, TlsSettings, BridgeSettings):
    """What an operator may choose about a gateway."""

    store_url: str = setting(
        "grpc://127.0.0.1:50051", doc="The promise store; several addresses with commas between."
    )
    listen: Address = setting(Address("127.0.0.1", 8000), doc="Where REST and pages are served.")
    auth_apps: bool = setting(
        default=False,
        doc="Whether the applications' own routes need a token, too, where tokens are asked for.",
    )
    store_seconds: float = setting(
        5.0, doc="How long a request waits for the store before it gets 503.", parse=number(0.1, 60)
    )
    apps_prefix: str = setting(
        "",
        doc="Put before each application's name, such as /apps; empty: the examples' own paths.",
        parse=url_prefix,
    )
    orders_simulate_crash: bool = setting(
        default=False, doc="Whether the first reservation of each order fails, as in the example."
    )
    orders_refuse_conflicts: bool = setting(
        default=False, doc="Whether a known order id with a different body is answered 409."
    )
    webhook_secrets: tuple[bytes, ...] = setting(
        (),
        doc="What webhooks must be signed with: whsec_ and base64, several with commas between, of"
        " which one must fit; none: anybody may send, or whose token covers the promise where"
        " tokens are asked for.",
        parse=parse_secrets,
        secret=True,
    )
    webhook_window_seconds: float = setting(
        300.0,
        doc="How far from now a signed webhook may have been sent.",
        parse=number(1, 86_400),
    )
    body_bytes_max: int = setting(
        BODY_BYTES_MAX, doc="The largest request body.", parse=integer(1_024, 64 * 1024 * 1024)
    )
    body_seconds: float = setting(
        BODY_SECONDS,
        doc="How long a client may take to send a request's body before it gets 408.",
        parse=number(0.01, 3_600),
    )
    connections_max: int = setting(
        CONNECTIONS_MAX,
        doc="Connections that may be open at the same time, at REST and at the bridge each; more"
        " are refused with 503. At most a third of the file descriptors that the process may have.",
        parse=integer(1, 1_000_000),
    )
    rate_per_second: float = setting(
        0.0,
        doc="Requests that one client may send in a second, in the long run; beyond it the answer"
        " is 429. 0: any number.",
        parse=number(0, 1_000_000),
    )
    rate_burst: int = setting(
        RATE_BURST,
        doc="Requests that one client may send at once, where their rate is limited.",
        parse=integer(1, 1_000_000),
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        doc="Addresses or networks of proxies, with commas between, whose X-Forwarded-For is"
        " believed; none: a client is whoever connects.",
        parse=parse_networks,
    )
    wait_seconds_max: float = setting(
        WAIT_SECONDS_MAX, doc="The longest that ?wait= may ask for.", parse=number(0, 600)
    )
    waits_max: int = setting(
        WAITS_MAX,
        doc="Requests that wait at the same time; beyond it ?wait= answers at once.",
        parse=integer(0, 100_000),
    )
    events_clients_max: int = setting(
        EVENTS_CLIENTS_MAX,
        doc="Clients that follow events at the same time; beyond it the answer is 503.",
        parse=integer(0, 100_000),
    )
    events_keep_alive_seconds: float = setting(
        15.0,
        doc="How often a stream of events without news gives a sign of life.",
        parse=number(0.01, 3_600),
    )
    events_send_seconds: float = setting(
        30.0,
        doc="How long a client may take to read what a stream sends before it is cut.",
        parse=number(0.01, 3_600),
    )
    stop_seconds: float = setting(
        20.0, doc="How long running requests may finish after SIGTERM.", parse=number(0, 3_600)
    )

    def rates(self) -> Rates | None:
        """Return what counts the requests of clients; nothing where nobody does."""
        if not self.rate_per_second:
            return None
        return Rates(per_second=self.rate_per_second, burst=self.rate_burst)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant together."""
        self.check_tls()
        self.check_push()

    def prefix_of(self, app: str) -> str:
        """Return where an application is mounted: `/apps/orders`, or nothing for its own paths."""
        return f"{self.apps_prefix}/{app}" if self.apps_prefix else ""
