"""What may stand between this machine and a platform or database: a TLS gateway, a proxy, a port."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Relay:
    """A listener in a thread; `asked` holds the head of each connection's first call."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def tls_gateway(target: str, context: ssl.SSLContext) -> Iterator[Relay]:
    """Yield a gateway that ends TLS and hands everything on to a server that speaks plain http."""
    relay = Relay()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        relay.asked.append(head.decode())
        await _joined(reader, writer, target, head)

    with _listening(serve, context) as port:
        relay.url = f"https://127.0.0.1:{port}"
        yield relay


@contextmanager
def forward_proxy(*, refusal: bytes | None = None) -> Iterator[Relay]:
    """Yield a proxy that hands a call on, and takes CONNECT.

    Args:
        refusal: what it answers in place of that, such as `b"407 Proxy Authentication Required"`.
    """
    relay = Relay()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        relay.asked.append(head.decode())
        method, address, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if refusal is not None:
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % refusal)
            writer.close()
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _joined(reader, writer, f"//{address}", b"")
        else:
            await _joined(reader, writer, address, head)

    with _listening(serve, None) as port:
        relay.url = f"http://127.0.0.1:{port}"
        yield relay


@contextmanager
def port_of_socket(path: str) -> Iterator[int]:
    """Yield a port of this machine that leads to a server which listens on a UNIX socket alone."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _carried((reader, writer), await asyncio.open_unix_connection(path))

    with _listening(serve, None) as port:
        yield port


async def _joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, first: bytes) -> None:
    """Carry bytes both ways until one end has had enough."""
    parts = urlsplit(target)
    there, onwards = await asyncio.open_connection(parts.hostname, parts.port)
    onwards.write(first)
    await _carried((reader, writer), (there, onwards))


async def _carried(near: _Ends, far: _Ends) -> None:
    (reader, writer), (there, onwards) = near, far

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while some := await source.read(65_536):
                sink.write(some)
                await sink.drain()
        sink.close()

    try:
        await asyncio.gather(carry(reader, onwards), carry(there, writer))
    finally:
        onwards.close()


@contextmanager
def _listening(serve: Serve, context: ssl.SSLContext | None) -> Iterator[int]:
    """Yield the port of a server in a thread of its own, so that a test may run an event loop itself."""
    loop = asyncio.new_event_loop()
    served: set[asyncio.Task[None]] = set()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()
            served.discard(task)

    async def end() -> None:
        server.close()
        under_way = [*served]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.sleep(0.05)  # what is closed says goodbye

    server = loop.run_until_complete(asyncio.start_server(quietly, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
