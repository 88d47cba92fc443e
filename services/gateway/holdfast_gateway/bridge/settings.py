"""Settings of the bridge, a part of the gateway's: `HOLDFAST_GATEWAY_BRIDGE_*` (§7.1)."""

from dataclasses import dataclass
from typing import Final

from holdfast_chassis.listen import Address
from holdfast_chassis.settings import ProcessSettings, integer, number, setting, words
from holdfast_gateway.bridge.targets import Rules, parse_rules

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
POLLS_MAX: Final = 1_000
POLL_BUFFER: Final = 100
PUSHES_MAX: Final = 256
EVERYWHERE: Final = "0.0.0.0/0,::/0"
_METADATA: Final = parse_rules(
    "169.254.0.0/16,fe80::/10,fd00:ec2::254/128,fd20:ce::254/128,100.100.100.200/32"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings(ProcessSettings):
    """What an operator may choose about the Resonate bridge."""

    bridge_listen: Address = setting(
        Address("127.0.0.1", 8001), doc="Where the Resonate protocol is served over HTTP."
    )
    bridge_url: str = setting(
        "",
        doc="The bridge's address as workers reach it, which messages tell them; empty:"
        " http://localhost and the port.",
    )
    bridge_body_bytes_max: int = setting(
        BODY_BYTES_MAX,
        doc="The largest body of a request to the bridge.",
        parse=integer(1_024, 64 * 1024 * 1024),
    )
    bridge_cors_origins: tuple[str, ...] = setting(
        (),
        doc="Origins of web pages that may use the bridge, with commas between; * for all, none"
        " for no page.",
        parse=words,
    )
    bridge_polls_max: int = setting(
        POLLS_MAX,
        doc="Clients that poll the bridge at the same time; beyond it the answer is 503.",
        parse=integer(0, 100_000),
    )
    bridge_poll_buffer: int = setting(
        POLL_BUFFER,
        doc="Messages that wait for one client that polls; beyond it they are dropped.",
        parse=integer(1, 100_000),
    )
    bridge_poll_keep_alive_seconds: float = setting(
        15.0,
        doc="How often a client that polls gets a sign of life when there is no message.",
        parse=number(0.01, 3_600),
    )
    bridge_poll_send_seconds: float = setting(
        30.0,
        doc="How long a client that polls may take to read what it was sent before it is cut.",
        parse=number(0.01, 3_600),
    )
    bridge_sleeps_have_targets: bool = setting(
        default=True,
        doc="Whether a timer with a target is taken for the sleep of a client that writes it so,"
        " and the target left out, if the promise carries a scope; else it is refused.",
    )
    bridge_push: bool = setting(
        default=True, doc="Whether messages to http:// and https:// addresses are sent from here."
    )
    bridge_push_allow: Rules = setting(
        Rules(),
        doc="Hosts that messages may be sent to: names, *.names and networks, with commas between;"
        " none: all. With a token it must be set.",
        parse=parse_rules,
    )
    bridge_push_deny: Rules = setting(
        _METADATA,
        doc="Hosts that no message is sent to, written alike; the default keeps clients away from"
        " the metadata services of clouds.",
        parse=parse_rules,
    )
    bridge_pushes_max: int = setting(
        PUSHES_MAX,
        doc="Messages that are on their way to HTTP addresses at the same time; to one host at most"
        " as many as are then left for others.",
        parse=integer(1, 100_000),
    )
    bridge_push_connect_seconds: float = setting(
        10.0,
        doc="How long connecting to an HTTP address may take.",
        parse=number(0.01, 3_600),
    )
    bridge_push_seconds: float = setting(
        180.0,
        doc="How long an HTTP address may take to answer a message.",
        parse=number(0.01, 3_600),
    )
    bridge_push_token: str = setting(
        "",
        doc="A bearer token that is sent with each message to the hosts that are allowed; it needs"
        " the list of those. Empty: none.",
        secret=True,
    )
    bridge_push_header: str = setting(
        "Authorization", doc="The header in which that token is sent."
    )

    def check_push(self) -> None:
        """Raise ValueError where a token would go to whatever host somebody names."""
        if self.bridge_push and self.bridge_push_token and not self.bridge_push_allow:
            msg = (
                "bridge_push_token needs bridge_push_allow, the hosts that may have it: whoever may"
                f" create a promise names where it is sent ({EVERYWHERE} allows every host)"
            )
            raise ValueError(msg)
