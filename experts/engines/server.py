"""The connection to a vLLM server: requests, retries, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from experts.errors import SamError

__all__ = ["Refused", "Server"]

_ATTEMPTS = {"GET": 3, "POST": 6}
_FIRST_WAIT = 0.2  # seconds; doubled after each attempt
_LONGEST_WAIT = 5.0  # seconds, whatever a server asks for
_CONNECT_S = 5.0
_BUSY = {429, 503}


class Refused(Exception):
    """A status that says no to this very request.

    Args:
        status: the HTTP status.
        kind: the server's word for it, never what it was sent.
        message: the server's explanation; it may repeat parts of the request.
    """

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(f"HTTP {status} {kind}".strip())
        self.status = status
        self.message = message


class Server:
    """An address that speaks vLLM's HTTP protocol.

    Attributes:
        url: for messages; without a password.

    Args:
        url: ``http://host:port``, with or without ``/v1``.
        start: the command that starts such a server, for messages.
        timeout_s: seconds to wait for one answer.

    Raises:
        SamError: for a URL or a key that is none.
    """

    def __init__(self, url: str, *, start: str, api_key: str, timeout_s: float) -> None:
        self.start = start
        self._address = url.strip().rstrip("/").removesuffix("/v1")
        self._key = api_key
        self._timeout = timeout_s
        try:
            parts = urlsplit(self._address)
            known = parts.scheme in ("http", "https") and bool(parts.hostname)
            known = known and (parts.port is None or parts.port > 0)
        except ValueError:
            known = False
        if not known:
            raise SamError(
                f"{url!r} is not the address of a server.",
                "Set SAM_ENGINE_URL to one such as http://127.0.0.1:8000, or to nothing.",
            )
        if not api_key.isascii() or not api_key.isprintable():
            raise SamError(
                "The key of the server has characters that no key has.",
                "Set SAM_ENGINE_KEY to what the server was given as --api-key.",
            )
        # for messages: without a password
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._local = parts.hostname in ("localhost", "127.0.0.1", "::1")

    def client(self, connections: int) -> httpx.AsyncClient:
        """A client for one event loop, to be closed by the caller."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx.AsyncClient(
            base_url=self._address,
            headers=headers,
            limits=httpx.Limits(max_connections=connections),
            timeout=httpx.Timeout(self._timeout, connect=_CONNECT_S),
            trust_env=not self._local,  # a proxy does not know what listens on this computer
        )

    async def get(self, client: httpx.AsyncClient, path: str) -> Any:
        """The JSON at a path; errors as of `post`."""
        return await self._send(client, "GET", path, None, frozenset())

    async def post(
        self,
        client: httpx.AsyncClient,
        path: str,
        body: Mapping[str, Any],
        *,
        retry_5xx: bool = True,
    ) -> Any:
        """Send JSON; the JSON that comes back, or None for a success that is not JSON.

        Connection errors, HTTP 429 and 503 are tried again, waiting longer each time; other 5xx as
        well, unless `retry_5xx` says otherwise.

        Raises:
            Refused: for an HTTP status from 400 that stays.
            SamError: if nothing answers, in time, or the key is refused.
        """
        again = frozenset(range(500, 600)) if retry_5xx else frozenset[int]()
        return await self._send(client, "POST", path, body, again)

    async def _send(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        again: frozenset[int],
    ) -> Any:
        for attempt in range(_ATTEMPTS[method]):
            last = attempt == _ATTEMPTS[method] - 1
            wait = _FIRST_WAIT * 2**attempt
            try:
                response = await client.request(method, path, json=body)
            except httpx.ReadTimeout:
                raise self._too_slow() from None  # asking again would make it slower still
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    raise self._unreachable(error) from None
            else:
                if response.status_code < 400:
                    return self._decoded(response, method)
                if last or response.status_code not in again | _BUSY:
                    raise self._refusal(response)
                wait = max(wait, _seconds(response.headers.get("Retry-After", "")))
            await asyncio.sleep(min(wait, _LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")

    def _decoded(self, response: httpx.Response, method: str) -> Any:
        try:
            return response.json()
        except (ValueError, RecursionError):
            if method == "POST":
                return None  # loading an adapter is acknowledged in plain words
            raise self.strange("something that is not JSON") from None

    def strange(self, what: str) -> SamError:
        """The error for an answer that no vLLM server gives."""
        return SamError(
            f"The server at {self.url} answered with {what}.",
            f"Check that SAM_ENGINE_URL is the address of a vLLM server; {self.start}",
        )

    def _refusal(self, response: httpx.Response) -> Exception:
        if response.status_code in (401, 403):
            return SamError(
                f"The server at {self.url} does not accept the key (HTTP {response.status_code}).",
                "Set SAM_ENGINE_KEY to what the server was given as --api-key.",
            )
        kind, message = _explanation(response)
        return Refused(response.status_code, kind, message)

    def _unreachable(self, error: Exception) -> SamError:
        return SamError(
            f"No server can be reached at {self.url} ({type(error).__name__}).",
            f"{self.start[0].upper()}{self.start[1:]} Or set SAM_ENGINE_URL to nothing, and SaM "
            "does the extraction itself.",
        )

    def _too_slow(self) -> SamError:
        return SamError(
            f"The server at {self.url} gave no answer within {self._timeout:g} seconds.",
            "See what it is busy with, and try again.",
        )


def _seconds(value: str) -> float:
    try:
        return max(0.0, float(value))
    except ValueError:  # absent, or a date
        return 0.0


def _explanation(response: httpx.Response) -> tuple[str, str]:
    """Kind and message of an error, in any of the forms that vLLM and its web framework have."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return "", ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", error[:300] if isinstance(error, str) else ""
    kind, message = error.get("type"), error.get("message", error.get("detail"))
    return (
        kind if isinstance(kind, str) and len(kind) <= 60 else "",
        message[:300] if isinstance(message, str) else "",
    )
