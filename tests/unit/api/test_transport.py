"""AiohttpTransport against a socket of this machine that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import time
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest

from capillary.api import transport as transport_module
from capillary.api.transport import AiohttpTransport, ConnectFailed, ProxyFailed, Reply, TooLarge, TransportFailed
from capillary.errors import TransientError

HEADERS = {"Authorization": "Basic canary", "Content-Type": "application/json"}
OK = b"HTTP/1.1 200 OK\r\nX-CAP-REQUEST-ID: trace-1\r\nContent-Length: 2\r\n\r\n{}"
REDIRECT = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers requests in order: with bytes, with something done to the writer, or (`None`) by closing."""

    def __init__(self, *answers: bytes | Callable[[asyncio.StreamWriter], None] | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")),
                    0,
                )
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if self.answers else None
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                    continue
                if answer is not None:
                    answer(writer)
                    if not writer.is_closing():
                        await reader.read()
                break
        writer.close()


@contextlib.asynccontextmanager
async def running(server: Server, **options: float) -> AsyncIterator[AiohttpTransport]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/path"
    transport = AiohttpTransport(**options)  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        await transport.close()
        await transport.close()
        listening.close()
        await listening.wait_closed()


async def post(transport: AiohttpTransport, url: str, timeout_s: float = 2) -> Reply:
    return await transport.call("POST", url, headers=HEADERS, timeout_s=timeout_s, json_body={"a": [1]})


def reset(writer: asyncio.StreamWriter) -> None:
    writer.write(OK[:40])
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def truncate(writer: asyncio.StreamWriter) -> None:
    writer.write(OK.replace(b"Content-Length: 2", b"Content-Length: 50"))
    writer.close()


def hang(_: asyncio.StreamWriter) -> None:
    """Say nothing."""


async def test_a_whole_answer() -> None:
    server = Server(OK, OK)
    async with running(server) as transport:
        answer = await post(transport, server.url)
        await transport.call("GET", server.url, headers=HEADERS, timeout_s=2, params={"PageNo": "0"})
    assert (answer.status, answer.body, answer.headers["x-cap-request-id"]) == (200, b"{}", "trace-1")
    assert server.requests[0].endswith(b'\r\n\r\n{"a":[1]}')
    assert server.requests[1].startswith(b"GET /path?PageNo=0 HTTP/1.1")
    assert b"Cookie" not in b"".join(server.requests)


def compressed(size: int) -> bytes:
    """Return an answer whose body is blanks, a thousandth of them on the wire."""
    body = gzip.compress(b" " * size)
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def endless(writer: asyncio.StreamWriter) -> None:
    """Announce nothing, and send more than anybody reads."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"40000\r\n" + b" " * 0x40000 + b"\r\n") * 40
    )


@pytest.mark.parametrize("answer", [compressed(40_000_000), endless], ids=["gzip", "chunked"])
async def test_an_answer_is_read_up_to_a_bound(
    answer: bytes | Callable[[asyncio.StreamWriter], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY", 4 * 1024 * 1024)
    server = Server(answer, OK)
    async with running(server) as transport:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge, match="the answer is over 4 MiB"):
                await post(transport, server.url, timeout_s=10)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (await post(transport, server.url)).status == 200
    assert issubclass(TooLarge, TransportFailed)  # so a POST is in doubt
    assert peak < 32_000_000


async def test_an_answer_of_exactly_the_bound_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY", 1_000_000)
    server = Server(compressed(1_000_000))
    async with running(server) as transport:
        assert len((await post(transport, server.url)).body) == 1_000_000


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    server = Server(REDIRECT, OK)
    async with running(server) as transport:
        assert (await post(transport, server.url)).status == 307
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", [None, reset, truncate], ids=["closed", "reset", "truncated"])
async def test_a_post_on_a_kept_connection_that_ends_is_not_replayed(
    end: Callable[[asyncio.StreamWriter], None] | None,
) -> None:
    server = Server(OK, end, OK, OK)
    async with running(server) as transport:
        await post(transport, server.url)
        with pytest.raises(TransportFailed):
            await post(transport, server.url)
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_silence_past_the_timeout_is_no_answer() -> None:
    server = Server(hang)
    async with running(server) as transport:
        with pytest.raises(TransportFailed, match="TimeoutError"):
            await post(transport, server.url, timeout_s=0.1)
    assert len(server.requests) == 1


async def test_an_answer_that_is_no_http() -> None:
    server = Server(b"SSH-2.0-OpenSSH\r\n\r\n")
    async with running(server) as transport:
        with pytest.raises(TransportFailed):
            await post(transport, server.url)


async def failure_of(transport: AiohttpTransport, url: str) -> TransientError:
    try:
        await post(transport, url)
    except (ConnectFailed, TransportFailed) as error:
        return error
    finally:
        await transport.close()
    raise AssertionError


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure_of(AiohttpTransport(), f"http://127.0.0.1:{port}/")
    assert isinstance(error, ConnectFailed)


async def test_a_name_that_does_not_exist() -> None:
    error = await failure_of(AiohttpTransport(), "http://no-such-host.invalid/")
    assert isinstance(error, ConnectFailed)


@pytest.mark.parametrize("greeting", [b"220 not tls\r\n", b""], ids=["speaks", "is silent"])
async def test_tls_with_a_server_that_speaks_none(greeting: bytes) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()
        writer.close()

    server = Server()
    server.serve = greet  # type: ignore[method-assign]
    async with running(server, connect_timeout_s=0.2) as transport:
        error = await failure_of(transport, server.url.replace("http:", "https:"))
    assert isinstance(error, ConnectFailed)


async def test_connecting_takes_too_long() -> None:
    # A backlog that is full answers no further connection.
    with socket.socket() as full, contextlib.ExitStack() as clients:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = clients.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        started_at = time.monotonic()
        error = await failure_of(AiohttpTransport(connect_timeout_s=0.2), f"http://127.0.0.1:{full.getsockname()[1]}/")
    assert isinstance(error, ConnectFailed)
    assert time.monotonic() - started_at < 1


async def test_a_failure_carries_nothing_of_the_request() -> None:
    server = Server(None)
    async with running(server) as transport:
        error = await failure_of(transport, server.url)
    assert isinstance(error, TransportFailed)
    assert error.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "authority", ["a..b", ".x", f"{'a' * 64}.b", ".".join(["a" * 62] * 5), "a\u2603\u200d.b", "h:99999"]
)
@pytest.mark.parametrize("as_proxy", [False, True])
async def test_a_host_that_can_be_looked_up_nowhere_is_no_connection(authority: str, as_proxy: bool) -> None:
    """aiohttp gives a raw `UnicodeError` for some of them."""
    address = f"http://{authority}/"
    error = (
        await failure_of(AiohttpTransport(proxy=address), "http://h.invalid/")
        if as_proxy
        else (await failure_of(AiohttpTransport(), address))
    )
    assert type(error) in {ConnectFailed, ProxyFailed}
