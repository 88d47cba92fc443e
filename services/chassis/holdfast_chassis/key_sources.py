"""Where public keys come from: a file that may be replaced, or a URL that is asked now and then."""

import asyncio
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Final

from holdfast_chassis.files import PAUSE_S, Watched
from holdfast_chassis.keys import BadKeys, Keys, KeysUnavailable, read_keys
from holdfast_chassis.logs import get_logger
from holdfast_chassis.settings import redact_urls

log = get_logger(__name__)

NONE: Final = "none"
"""Instead of a file or a URL: signatures are not verified, which only tests may want."""

URL_BYTES_MAX: Final = 1_048_576
URL_TIMEOUT_S: Final = 5.0
"""For connecting, and for each part of the answer."""
URL_SECONDS: Final = 10.0
"""For all of it: whoever answers a byte at a time must not hold up who waits for the keys."""
URL_AGE_S_MAX: Final = 300.0
"""How old keys from a URL may be before they are asked for again."""
URL_PAUSE_S: Final = 10.0
"""Between two questions at least: strangers choose which keys their tokens name."""


class UncheckedKeys:
    """No keys: everything that looks like a token counts."""

    def __init__(self) -> None:
        self._keys = Keys(are_ignored=True)

    async def current(self, *, wanted: str | None = None) -> Keys:
        """Answer that signatures do not matter."""
        del wanted
        return self._keys


class FileKeys:
    """Keys of a file: PEM blocks or a JSON Web Key Set. A file that is broken later is ignored."""

    def __init__(self, path: Path, *, pause_s: float = PAUSE_S) -> None:
        """Read the file; raises `BadKeys` or `OSError`."""
        self._watched = Watched((path,), pause_s=pause_s)
        (data,) = self._watched.read()
        self._keys = read_keys(data)

    async def current(self, *, wanted: str | None = None) -> Keys:
        """Answer the keys that the file holds now."""
        del wanted
        contents = self._watched.read_if_replaced()
        if contents is not None:
            try:
                self._keys = read_keys(contents[0])
                log.info(
                    "token_keys_replaced", source=str(self._watched), count=len(self._keys.keys)
                )
            except BadKeys as error:
                log.warning("token_keys_unusable", source=str(self._watched), error=str(error))
        return self._keys


class UrlKeys:
    """Keys of a URL: asked for when they are wanted and old, by one question at a time."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fetch = _fetch if fetch is None else fetch
        self._now_s = now_s
        self._keys: Keys | None = None
        self._fetched_at = self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def current(self, *, wanted: str | None = None) -> Keys:
        """Answer the keys; wait for newer ones only where these do not do."""
        now = self._now_s()
        lacks = self._keys is None or (wanted is not None and not self._keys.knows(wanted))
        is_old = now - self._fetched_at >= URL_AGE_S_MAX
        if (lacks or is_old) and self._asking is None and now - self._asked_at >= URL_PAUSE_S:
            self._asking = asyncio.create_task(self._ask(), name="token-keys")
        if lacks and self._asking is not None:
            await asyncio.shield(self._asking)  # shared with all who come meanwhile
        if self._keys is None:
            # Said to strangers, too, whom it does not concern where the keys are.
            raise KeysUnavailable("the keys that verify tokens cannot be had; the log says why")
        return self._keys

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(URL_SECONDS):
                data = await asyncio.to_thread(self._fetch, self._url)
            keys = read_keys(data)
        except (BadKeys, OSError, HTTPException, ValueError) as error:
            # The keys of the last time stay: whoever issues tokens may be away for a while.
            source, reason = redact_urls(self._url), redact_urls(str(error)) or "no answer in time"
            log.warning("token_keys_unusable", source=source, error=reason)
        else:
            self._keys, self._fetched_at = keys, self._now_s()
        finally:
            self._asked_at, self._asking = self._now_s(), None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would let whoever answers choose where keys come from."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _fetch(url: str) -> bytes:
    deadline = time.monotonic() + URL_SECONDS
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked
    with opener.open(request, timeout=URL_TIMEOUT_S) as response:
        data = b""
        while part := response.read1(URL_BYTES_MAX + 1):
            data += part
            if len(data) > URL_BYTES_MAX:
                raise BadKeys(f"it must not be longer than {URL_BYTES_MAX} bytes")
            if time.monotonic() > deadline:  # whoever asked has given up; this thread does, too
                raise TimeoutError
    return data


def is_url(text: str) -> bool:
    """Whether keys are to be had from a URL instead of a file."""
    return urllib.parse.urlsplit(text).scheme in ("http", "https")


def open_keys(where: str) -> UncheckedKeys | FileKeys | UrlKeys:
    """Make the source that a setting names; raises `BadKeys`, or `OSError` for a file."""
    if where == NONE:
        return UncheckedKeys()
    if not is_url(where):
        return FileKeys(Path(where))
    if "@" in urllib.parse.urlsplit(where).netloc:
        raise BadKeys("its URL must not name a user or a password")
    return UrlKeys(where)
