"""How one call leaves the machine, and what is known when it fails."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from capillary.api.tls import no_tls, tls_fault
from capillary.errors import TransientError

#: Idle connections are closed by us before a server does it (uvicorn and Node.js: 5 s): a POST that meets a
#: connection just closed by the server would be in doubt for nothing.
KEEP_ALIVE_S: Final = 4.0
#: Connections at once; the submitting code keeps fewer calls in flight.
CONNECTIONS: Final = 32
#: aiohttp raises these from its connector alone, before the first byte of the call is written.
_BEFORE_SENDING: Final = (
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
#: Most bytes of a reply's body, after decompression: a million bytes of gzip may hold a thousand million.
MAX_BODY: Final = 64 * 1024 * 1024
_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})


class ConnectFailed(TransientError):
    """Nothing left the machine: name not found, connection refused, TLS failed, connecting took too long."""


class TlsFailed(ConnectFailed):
    """Nothing left the machine: one end does not trust the other, or speaks no TLS. `remedy` says what to do."""

    def __init__(self, fault: str, *, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f"{fault}. {remedy}")


class ProxyFailed(ConnectFailed):
    """Nothing left the machine, or the proxy let nothing through. `remedy` says what to do."""

    def __init__(self, fault: str, *, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(f"{fault}. {remedy}")


class TransportFailed(TransientError):
    """The call was started and no whole answer came back: it may have been carried out."""


class TooLarge(TransportFailed):
    """The answer's body is over `MAX_BODY`; the rest of it was not read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer. Header names are in lower case; the body is kept out of the repr."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Transport(Protocol):
    """Makes exactly one call; never repeats a POST, never follows a redirect."""

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        json_body: object | None = None,
        params: Mapping[str, str] = _NO_PARAMS,
    ) -> Reply:
        """Return the whole answer, whatever its status.

        Raises:
            ConnectFailed: nothing left the machine.
            TooLarge: the body is over `MAX_BODY`.
            TransportFailed: anything else later.
        """
        ...

    async def close(self) -> None:
        """Close what is open; may be called twice."""
        ...


class AiohttpTransport:
    """Transport over one aiohttp session, opened with the first call.

    aiohttp repeats a read once by itself when a kept connection turns out closed; a POST is not in its
    `IDEMPOTENT_METHODS` and goes out once. No cookies are kept and no environment variables are read.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 10,
        verify_tls: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._verify_tls = verify_tls
        self._proxy = proxy
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        json_body: object | None = None,
        params: Mapping[str, str] = _NO_PARAMS,
    ) -> Reply:
        """Make one call (see `Transport.call`)."""
        data = None if json_body is None else json.dumps(json_body, separators=(",", ":")).encode()
        session = self._open()
        failure: TransientError
        try:
            async with session.request(
                method,
                url,
                params=params,
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s, connect=self._connect_timeout_s),
                allow_redirects=False,
                proxy=self._proxy,
                ssl=self._verify_tls,
            ) as response:
                body = await _body_of(response)
                lower = {name.lower(): value for name, value in response.headers.items()}
                return Reply(status=response.status, headers=lower, body=body)
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            fault, remedy = tls_fault(error, f"{error.host}:{error.port}")
            failure = TlsFailed(fault, remedy=remedy)
        except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
            failure = _proxy_failed(error, url, self._proxy or "")
        except aiohttp.ClientConnectorDNSError as error:  # with a proxy, its name alone is looked up here
            failure = _proxy_failed(error, url, self._proxy) if self._proxy else _not_connected(error, url)
        except aiohttp.ClientConnectorError as error:
            failure = _not_connected(error, url)
            if url.startswith("https:") and isinstance(error.os_error, ConnectionResetError):
                fault, remedy = no_tls(f"{error.host}:{error.port}", "it closed the connection")
                failure = TlsFailed(fault, remedy=remedy)
        except UnicodeDecodeError as error:
            failure = TransportFailed(f"no readable answer from the platform ({type(error).__name__})")
        except (*_BEFORE_SENDING, UnicodeError) as error:  # the last: a host that is not a name, at its look-up
            failure = _not_connected(error, url, self._proxy)
        except (aiohttp.ClientError, OSError) as error:
            failure = TransportFailed(f"no whole answer from the platform ({type(error).__name__})")
        # Raised out here: aiohttp's errors carry the request with its headers, and would be chained.
        raise failure

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close the session and let its TLS connections say goodbye."""
        if self._session is not None and not self._session.closed:
            await self._session.close()
            await asyncio.sleep(0)


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """Return a body, decompressed by aiohttp in parts of at most 256 kB; the length that is announced is not asked.

    Raises:
        TooLarge: it is over `MAX_BODY`. The connection is closed then, since it is still being written to.
    """
    parts, size = list[bytes](), 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            response.close()
            raise TooLarge(f"the answer is over {MAX_BODY // 1024**2} MiB")
        parts.append(part)
    return b"".join(parts)


def _not_connected(error: Exception, url: str, proxy: str | None = None) -> ConnectFailed:
    through = f" through the proxy {_authority(proxy)}" if proxy else ""
    return ConnectFailed(f"no connection to {_authority(url)}{through} ({type(error).__name__})")


def _proxy_failed(
    error: aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError, url: str, proxy: str
) -> ProxyFailed:
    if isinstance(error, aiohttp.ClientConnectorError):
        return ProxyFailed(
            f"no connection to the proxy {_authority(proxy)} ({type(error.os_error).__name__})",
            remedy="Correct the connection's extra proxies, or remove it if the platform is reached without a proxy",
        )
    of_login = "the login in the connection's extra proxies" if error.status == 407 else "what it lets through"
    return ProxyFailed(
        f"the proxy {_authority(proxy)} makes no connection to {_authority(url)} (HTTP {error.status})",
        remedy=f"Check {of_login}",
    )


def _authority(url: str) -> str:
    """Return host and port: the rest of an address may hold ids."""
    return urlsplit(url).netloc.rpartition("@")[2]
