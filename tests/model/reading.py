"""What a request must look like. Whatever does not is refused with 400 before any lookup.

Shapes (types, ranges, empty ids) and rules (what the values mean) are apart, because an operation
inside a fence answers them at different places.
"""

import re
from typing import Any, NoReturn, TypeGuard
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tests.model.profile import Profile, origin_of
from tests.model.records import (
    ANY,
    BRANCH,
    DELAY,
    LARGEST,
    ORIGIN,
    PARENT,
    PREFIX,
    RELEASE_REASONS,
    SETTLABLE,
    TARGET,
    TIMER,
    WAIT_MODES,
    Json,
    Refused,
)

ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


def malformed(text: str) -> NoReturn:
    raise Refused(400, text)


def read_object(data: Any, name: str) -> Json:
    """Return a member that must be there and be an object."""
    member = data.get(name)
    return member if isinstance(member, dict) else malformed(f"{name} must be an object")


def read_list(data: Json, name: str) -> list[Any]:
    """Return a member that is a list; absent and null are the empty one."""
    member = data.get(name)
    if member is None:
        return []
    return member if isinstance(member, list) else malformed(f"{name} must be a list")


def read_string(data: Json, name: str) -> str:
    """Return a string that UTF-8 can carry, of any length."""
    member = data.get(name)
    return member if is_string(member) else malformed(f"{name} must be a string")


def is_string(member: Any) -> TypeGuard[str]:
    return isinstance(member, str) and not any("\ud800" <= c <= "\udfff" for c in member)


def read_name(data: Json, name: str) -> str:
    """Return an id, pid or address: not empty, no NUL."""
    member = read_string(data, name)
    if not member or "\0" in member:
        malformed(f"{name} must not be empty, nor contain NUL")
    return member


def read_number(data: Json, name: str, *, least: int = 0) -> int:
    member = data.get(name)
    if not isinstance(member, int) or isinstance(member, bool) or not least <= member <= LARGEST:
        malformed(f"{name} must be an integer from {least} to {LARGEST}")
    return member


def read_value(data: Json, name: str) -> Json:
    """Return headers and data as sent; other members are dropped, null is absent."""
    member = data.get(name)
    if member is None:
        return {}
    if not isinstance(member, dict):
        malformed(f"{name} must be an object")
    value: Json = {}
    if member.get("headers") is not None:
        value["headers"] = read_strings(member, "headers")
    if member.get("data") is not None:
        value["data"] = read_string(member, "data")
    return value


def read_strings(data: Json, name: str) -> dict[str, str]:
    """Return an object from strings to strings; absent and null are the empty one."""
    member = data.get(name)
    if member is None:
        return {}
    if not isinstance(member, dict):
        malformed(f"{name} must be an object")
    if not all(is_string(text) for pair in member.items() for text in pair):
        malformed(f"{name} must map strings to strings")
    return member


def read_tags(data: Json, name: str) -> dict[str, str]:
    tags = read_strings(data, name)
    if any("\0" in text for pair in tags.items() for text in pair):
        malformed(f"{name} must not contain NUL")
    return tags


def read_create(data: Json) -> Json:
    """Return the shape of `promise.create`."""
    return {
        "id": read_name(data, "id"),
        "timeoutAt": read_number(data, "timeoutAt"),
        "param": read_value(data, "param"),
        "tags": read_tags(data, "tags"),
    }


def check_create(create: Json, profile: Profile) -> None:
    """Refuse a well-shaped `promise.create` that breaks a rule."""
    check_target(create["tags"])
    check_delay(create["tags"], create["timeoutAt"])
    if profile.strict_lineage:
        check_lineage(create["id"], create["tags"])


def check_target(tags: dict[str, str]) -> None:
    if TARGET not in tags:
        return
    check_address(tags[TARGET])
    if tags.get(TIMER) == "true":
        malformed("a timer has no target")


def check_address(address: str) -> None:
    if not ABSOLUTE_URI.fullmatch(address):
        malformed("an address is a scheme, a colon and something without white space")


def check_delay(tags: dict[str, str], timeout_at: int) -> None:
    delay = tags.get(DELAY)
    if delay is None:
        return
    if not re.fullmatch("[0-9]+", delay):
        malformed("the delay is a decimal number")
    if TARGET not in tags or int(delay) >= timeout_at:
        malformed("the delay needs a target, and lies before the deadline")


def check_lineage(promise_id: str, tags: dict[str, str]) -> None:
    for tag in (ORIGIN, BRANCH, PARENT):
        named = tags.get(tag)
        if named is not None and promise_id != named and not promise_id.startswith(named + "."):
            malformed(f"the id does not extend its {tag}")
    if "." in tags.get(ORIGIN, "") or "." in tags.get(PREFIX, ""):
        malformed("an origin or a prefix has no dot")


def read_settle(data: Json) -> Json:
    """Return the shape of `promise.settle`."""
    return {
        "id": read_name(data, "id"),
        "state": read_string(data, "state"),
        "value": read_value(data, "value"),
    }


def check_settle(settle: Json) -> None:
    if settle["state"] not in SETTLABLE:
        malformed(f"a client cannot settle with {settle['state']}")


def read_callback(data: Json, profile: Profile) -> tuple[str, str]:
    """Return awaited and awaiter, which differ and, by the knob, are of one tree."""
    awaited, awaiter = read_name(data, "awaited"), read_name(data, "awaiter")
    if awaited == awaiter:
        malformed("a promise does not await itself")
    if profile.composite_origin and origin_of(awaited) != origin_of(awaiter):
        malformed("awaited and awaiter are of different trees")
    return awaited, awaiter


def read_page(data: Json, *, limit: int, states: tuple[str, ...] = ()) -> tuple[Any, str, int]:
    """Return the state to look for, the position to go on after, and how many at most."""
    state = data.get("state") if states else None
    if state is not None and state not in states:
        malformed("unknown state")
    if data.get("limit") is not None:
        limit = read_number(data, "limit", least=1)
    if limit > 1000:
        malformed("limit must be from 1 to 1000")
    cursor = "" if data.get("cursor") is None else read_string(data, "cursor")
    return state, cursor, limit


def read_wait_mode(data: Json, profile: Profile) -> str:
    """Return when a suspended task goes on: with any of the awaited, or with the last."""
    mode = data.get("waitMode") if profile.extensions else None
    if mode not in (None, *WAIT_MODES):
        malformed("unknown wait mode")
    return mode or ANY


def read_not_before(data: Json, profile: Profile) -> int:
    """Return the instant before which a released task is not dispatched."""
    asks = profile.extensions and data.get("notBefore") is not None
    return read_number(data, "notBefore") if asks else 0


def read_reason(data: Json, profile: Profile) -> str | None:
    """Return why a task is given back."""
    reason = data.get("reason") if profile.extensions else None
    return reason if reason in (None, *RELEASE_REASONS) else malformed("unknown reason")


def read_flag(data: Json, name: str, profile: Profile) -> bool:
    """Return whether something is asked for that plain HTTP cannot say."""
    member = (data.get(name) or False) if profile.extensions else False
    return member if isinstance(member, bool) else malformed(f"{name} must be true or false")


def read_time_zone(data: Json, profile: Profile) -> str:
    """Return the name of a time zone; the empty one is UTC."""
    member = data.get("timeZone") if profile.extensions else None
    if member in (None, ""):
        return ""
    try:
        ZoneInfo(member)
    except (ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        malformed("timeZone must be the IANA name of a time zone")
    return str(member)
