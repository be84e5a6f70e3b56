"""A TLS failure names the certificate's fault and how a company's CA is given; nothing has left the machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from cryptography import x509

from capillary.api.client import Client
from capillary.api.errors import NotTaken, PlatformUnavailable, SettingsInvalid
from capillary.api.settings import PlatformSettings
from capillary.api.tls import trust_of
from capillary.api.transport import AiohttpTransport, ConnectFailed, TlsFailed
from capillary.errors import TransientError
from tests.certificates import DAY, Authority
from tests.unit.api.scripted import Platform


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


def settings(base_url: str, verify: Path | bool, *cert: Path) -> PlatformSettings:
    return PlatformSettings(
        base_url=base_url,
        organisation_id="7",
        login="till",
        password="canary",
        verify=verify if isinstance(verify, bool) else str(verify),
        cert=tuple(map(str, cert)),
    )


async def failure(url: str, verify: Path | bool) -> TlsFailed:
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
    (lambda ca: ca.serve(name=x509.DNSName("other.example")), True, "is for another host.*its name"),
    (lambda ca: old_tls(ca.serve()), True, "have no TLS version or cipher in common"),
    (lambda _: None, True, "have no TLS version or cipher in common.*Check scheme and port"),
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


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text"])
def test_a_ca_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ca.pem"
    if kind == "folder":
        path.mkdir()
        (path / "company.pem").write_text("under a name that OpenSSL does not look up")
    elif kind != "missing":
        path.write_text("" if kind == "empty" else "no certificate")
    words = "openssl rehash" if kind == "folder" else "every worker and triggerer"
    with pytest.raises(SettingsInvalid, match=rf"field 'verify': the (file|folder) .*{words}"):
        trust_of(settings("https://eu.example.com", path))


async def test_a_folder_of_cas_is_trusted(authority: Authority) -> None:
    async with server(authority.serve()) as url:
        transport = AiohttpTransport(verify_tls=trust_of(settings(url, authority.hashed())))
        assert (await transport.call("GET", url, headers={}, timeout_s=5)).body == b"{}"
        await transport.close()


async def test_a_clients_certificate_is_shown_where_one_is_demanded(authority: Authority) -> None:
    certificate, key = authority.client()
    both = authority.folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    async with server(authority.serve(demanding=True)) as url:
        for verify in (authority.pem, False):
            for cert in ((both,), (certificate, key)):
                transport = AiohttpTransport(verify_tls=trust_of(settings(url, verify, *cert)))
                assert (await transport.call("GET", url, headers={}, timeout_s=5)).body == b"{}"
                await transport.close()


async def test_a_certificate_of_ours_does_not_turn_verification_off(authority: Authority) -> None:
    context = trust_of(settings("https://eu.example.com", True, *authority.client()))
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509_ca"] > 0  # the system's


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "it cannot be read on this machine"),
        ("no key", "a certificate and its key in PEM are not in it"),
        ("text", "a certificate and its key in PEM are not in it"),
        ("another's", "the key belongs to another certificate"),
        ("passphrase", "its key is encrypted, and no task can type the passphrase"),
    ],
)
def test_a_clients_certificate_that_cannot_be_used_is_named(authority: Authority, kind: str, words: str) -> None:
    certificate, _ = authority.client()
    text = authority.folder / "text.pem"
    text.write_text("no certificate")
    given = {
        "missing": (authority.folder / "nowhere.pem",),
        "no key": (certificate,),
        "text": (text,),
        "another's": (certificate, authority.client("other")[1]),
        "passphrase": authority.client("sealed", passphrase=b"word"),
    }[kind]
    with pytest.raises(SettingsInvalid, match=f"field 'cert': {words}.*every worker and triggerer"):
        trust_of(settings("https://eu.example.com", True, *given))


async def test_nothing_is_answered_without_the_certificate_that_is_demanded(authority: Authority) -> None:
    async with server(authority.serve(demanding=True)) as url:
        transport = AiohttpTransport(verify_tls=trust_of(settings(url, authority.pem)))
        with pytest.raises(TransientError):  # in TLS 1.3 a client hears of it after its first call only
            await transport.call("GET", url, headers={}, timeout_s=5)
        await transport.close()
