"""Pieces of a file over HTTP, through fsspec's session: time-outs, patient retries, never more than was asked for.

Tokens come from the environment alone: ``HF_TOKEN`` for huggingface.co, ``LORA_PATCHBAY_TOKENS`` (``host=token``, with
commas between) for any host. They go to that host only, also after a redirect, and stand in no message.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import fsspec
from fsspec.asyn import sync

from ...errors import RemoteError
from .source import Span

TRIES = 4
PAUSE = 0.5
"""Seconds before the second try; doubled each time. A server may ask for more, up to ``_PATIENCE``."""

_PATIENCE = 30.0
_AT_ONCE = 8
_PART = 1 << 16
_UNASKED = 4 << 20
"""How far into a file it is read from its beginning where a server sends no parts."""
_AGAIN = frozenset({429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
_HUB_HOST = "huggingface.co"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class HttpReads:
    """Reads one address."""

    def __init__(self, address: str, shown: str, traffic: Any) -> None:
        self._address = address
        self._shown = shown
        self._traffic = traffic
        self._size: int | None = None
        self._parts = True
        self._led_to: Any = None
        """Where redirects ended: later pieces are asked for there, which saves their redirects."""
        limits = aiohttp.ClientTimeout(total=300, sock_connect=15, sock_read=30)
        proxied = any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES)
        # A file of passwords in the home folder is read with trust_env; proxies alone are worth that.
        options = {"timeout": limits, "trust_env": proxied}
        self._system: Any = fsspec.filesystem("http", client_kwargs=options)

    def begin(self, count: int, size: int | None) -> tuple[bytes, int]:
        """The first ``count`` bytes, and the size of the file."""
        head: Any = sync(self._system.loop, self._piece, (0, count))
        if self._size is None:
            raise RemoteError(f"{self._shown}: the server does not say how long the file is; download it first.")
        return head, self._size

    def spans(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each span."""
        found: Any = sync(self._system.loop, self._all, spans)
        return found

    async def _all(self, spans: Sequence[Span]) -> list[bytes]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(span: Span) -> bytes:
            async with gate:
                return await self._piece(span) if span[1] > span[0] else b""

        return list(await asyncio.gather(*map(one, spans)))

    async def _piece(self, span: Span) -> bytes:
        if not self._parts and span[1] > _UNASKED:
            raise RemoteError(
                f"{self._shown}: the server sends no parts of files, only whole ones, and what is needed stands too "
                "far inside; download the file first."
            )
        pause, reason = PAUSE, ""
        for number in range(TRIES):
            if number:
                await asyncio.sleep(min(pause, _PATIENCE))
                pause *= 2
            try:
                return await self._ask(span)
            except _Again as again:
                reason, pause = again.reason, max(pause, again.pause)
            except aiohttp.InvalidURL as error:
                raise RemoteError(f"{self._shown}: is not a valid address.") from error
            except (aiohttp.TooManyRedirects, aiohttp.ClientSSLError) as error:
                raise RemoteError(f"{self._shown}: cannot be read ({type(error).__name__}).") from error
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                reason = _words(error)
        raise RemoteError(f"{self._shown}: cannot be read: {reason} ({TRIES} tries). Try again later.")

    async def _ask(self, span: Span) -> bytes:
        session: aiohttp.ClientSession = await self._system.set_session()
        start, end = span
        # Packed bytes would be counted wrongly, and pieces of them cannot be unpacked.
        target = self._led_to or self._address
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity", **_token(str(target))}
        self._traffic.requests += 1
        async with session.get(target, headers=headers, allow_redirects=True) as answer:
            self._traffic.requests += len(answer.history)
            if answer.status >= 400 and self._led_to is not None:
                self._led_to = None  # such addresses are signed, and run out
                raise _Again("the address it was redirected to does not hold")
            self._refuse(answer)
            self._led_to = answer.url if answer.history else self._led_to
            if answer.status == 416:
                self._size = _total(answer, self._size)
                return b""
            size = _total(answer, None)
            if self._size is not None and size is not None and size != self._size:
                raise RemoteError(f"{self._shown}: the file changed while it was read; try again.")
            self._size = size if self._size is None else self._size
            self._parts = answer.status == 206
            skip = 0 if self._parts else start
            if skip + end - start > _UNASKED and not self._parts:
                return await self._piece(span)
            return await self._body(answer, skip, end - start)

    async def _body(self, answer: aiohttp.ClientResponse, skip: int, count: int) -> bytes:
        """``count`` bytes after the first ``skip``; the connection is closed then, whatever the server still sends."""
        found = bytearray()
        while len(found) < skip + count:
            part = await answer.content.read(min(_PART, skip + count - len(found)))
            if not part:
                break
            found += part
            self._traffic.bytes += len(part)
        promised = answer.content_length
        if answer.status == 206 and promised is not None and len(found) < min(count, promised):
            raise _Again("the connection was cut")
        if answer.status != 206:
            answer.close()
        return bytes(found[skip:])

    def _refuse(self, answer: aiohttp.ClientResponse) -> None:
        status = answer.status
        if status in _AGAIN:
            wait = answer.headers.get("Retry-After", "")
            what = "too many requests" if status == 429 else "the server has an error"
            raise _Again(f"{what} (HTTP {status})", float(wait) if wait.isdecimal() else 0.0)
        if status in (401, 403):
            told = _HUB_HOST in answer.host or _HUB_HOST in self._address
            where = "HF_TOKEN" if told else "LORA_PATCHBAY_TOKENS (host=token)"
            raise RemoteError(
                f"{self._shown}: the server refuses it (HTTP {status}). If you have access to it, put your token into "
                f"the environment variable {where}."
            )
        if status in (404, 410):
            raise RemoteError(f"{self._shown}: there is no such file (HTTP {status}).")
        if status >= 400 and status != 416 or status not in (200, 206, 416):
            raise RemoteError(f"{self._shown}: the server answers with HTTP {status}.")


class _Again(Exception):
    """Worth another try."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.pause = reason, pause


def _total(answer: aiohttp.ClientResponse, otherwise: int | None) -> int | None:
    """Size of the whole file, as the answer tells it."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is not None:
        return int(found[2])
    return answer.content_length if answer.status == 200 else otherwise


def _token(address: str) -> dict[str, str]:
    host = urlsplit(address).netloc.rpartition("@")[2].lower()
    given = (item.strip().partition("=") for item in os.environ.get("LORA_PATCHBAY_TOKENS", "").split(","))
    tokens = {name.lower(): token for name, _, token in given if token}
    hub = urlsplit(os.environ.get("HF_ENDPOINT", f"https://{_HUB_HOST}")).netloc.lower()
    tokens.setdefault(hub, os.environ.get("HF_TOKEN", ""))
    token = tokens.get(host, "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _words(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer came in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or 'host not found'})"
    return "the connection was cut"
