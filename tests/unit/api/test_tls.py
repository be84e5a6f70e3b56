"""A TLS failure names the certificate's fault and how a company's CA is given; nothing has left the machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from capillary.api.client import Client
from capillary.api.errors import NotTaken, PlatformUnavailable
from capillary.api.settings import PlatformSettings
from capillary.api.tls import trust_of
from capillary.api.transport import AiohttpTransport, ConnectFailed, TlsFailed
from tests.unit.api.scripted import Platform

DAY = timedelta(days=1)
ADDRESS = x509.IPAddress(ip_address("127.0.0.1"))


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """A CA of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = named("A company's CA")
        self.pem = folder / "ca.pem"
        self.pem.write_bytes(self._sign(self.name, self.key.public_key(), (-DAY, DAY), ca=True))

    def _sign(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        valid: tuple[timedelta, timedelta],
        *,
        ca: bool = False,
        names: tuple[x509.GeneralName, ...] = (),
    ) -> bytes:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid[0])
            .not_valid_after(now + valid[1])
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def serve(
        self, *, valid: tuple[timedelta, timedelta] = (-DAY, DAY), name: x509.GeneralName = ADDRESS
    ) -> ssl.SSLContext:
        """Return what a server needs that this CA has certified."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = self.folder / "server.pem"
        pem.write_bytes(
            self._sign(named("server"), key.public_key(), valid, names=(name,))
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def server(context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Yield the https address of a server that answers `{}`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def settings(base_url: str, verify: Path | bool = True, *cert: Path) -> PlatformSettings:
    return PlatformSettings(
        base_url=base_url,
        organisation_id="7",
        login="till",
        password="canary",
        verify=verify if isinstance(verify, bool) else str(verify),
        cert=tuple(map(str, cert)),
    )


async def failure(url: str, verify: Path | bool = True) -> TlsFailed:
    transport = AiohttpTransport(verify_tls=trust_of(settings(url, verify)))
    try:
        await transport.call("POST", url, headers={}, timeout_s=5, json_body={})
    except TlsFailed as error:
        return error
    finally:
        await transport.close()
    raise AssertionError("it was trusted")


def old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1
    return context


FAULTS: list[tuple[Callable[[Authority], ssl.SSLContext | None], bool, str]] = [
    (
        lambda ca: ca.serve(),
        False,
        "comes from a CA that is not trusted here.*PEM file in the connection's extra verify",
    ),
    (lambda ca: ca.serve(valid=(-2 * DAY, -DAY)), True, "has expired.*renewed.*clock"),
    (lambda ca: ca.serve(valid=(DAY, 2 * DAY)), True, "is not valid yet.*clock"),
    (lambda ca: ca.serve(name=x509.DNSName("other.example")), True, "is made out for another host.*its name"),
    (lambda ca: old_tls(ca.serve()), True, "agree on no TLS"),
    (lambda _: None, True, "agree on no TLS.*Check scheme and port"),
]


@pytest.mark.parametrize(
    ("serve", "is_known", "words"), FAULTS, ids=["unknown CA", "expired", "not yet", "wrong host", "old TLS", "no TLS"]
)
async def test_the_fault_of_a_certificate_is_named(
    authority: Authority, serve: Callable[[Authority], ssl.SSLContext | None], is_known: bool, words: str
) -> None:
    async with server(serve(authority)) as url:
        error = await failure(url, authority.pem if is_known else True)
    assert isinstance(error, ConnectFailed)  # nothing left the machine: a POST is not taken
    assert not isinstance(error, NotTaken)
    pattern = rf"127\.0\.0\.1:\d+ .*{words}"
    with pytest.raises(TlsFailed, match=pattern):
        raise error


async def test_a_companys_ca_is_trusted_where_it_is_given(authority: Authority) -> None:
    async with server(authority.serve()) as url:
        for trusted in (settings(url, authority.pem), settings(url, False)):
            transport = AiohttpTransport(verify_tls=trust_of(trusted))
            assert (await transport.call("GET", url, headers={}, timeout_s=5)).body == b"{}"
            await transport.close()


async def test_a_read_tells_the_fault_in_place_of_base_url(authority: Authority) -> None:
    async with server(authority.serve(valid=(-2 * DAY, -DAY))) as url:
        given = settings(url, authority.pem)
        transport = AiohttpTransport(verify_tls=trust_of(given))
        time = Platform()
        client = Client(
            given,
            transport=transport,
            pace=time,
            sleep=time.sleep,
            monotonic=lambda: time.clock,
            random=Random(7),  # noqa: S311 - jitter
        )
        async with client:
            with pytest.raises(PlatformUnavailable, match="has expired") as told:
                await client.read_request("an-id")
    assert "base_url" not in str(told.value)
    assert str(told.value).endswith("check this machine's clock.")
