"""Which servers a call to the platform trusts, and what is wrong where it does not trust the other end."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final

import aiohttp

from capillary.api.errors import SettingsInvalid
from capillary.api.settings import PlatformSettings

#: `X509_V_ERR_…` of OpenSSL: the fault of a certificate, and what to do.
_GIVE_THE_CA: Final = (
    "If a company's own CA signed it (a TLS-inspecting proxy, for one), give that CA's PEM file in the connection's "
    "extra verify"
)
_FAULTS: Final = {
    9: ("is not valid yet", "Check this machine's clock"),
    10: ("has expired", "Have it renewed by whoever runs that host, and check this machine's clock"),
    18: ("is self-signed and not trusted here", _GIVE_THE_CA),
    19: ("comes from a CA that is not trusted here", _GIVE_THE_CA),
    20: ("comes from a CA that is not trusted here", _GIVE_THE_CA),
    21: ("comes without the certificates between it and its CA", _GIVE_THE_CA),
    23: ("was revoked", "Ask whoever runs that host"),
    62: ("is for another host", "Check the host in base_url, or have that host's certificate corrected"),
    64: ("is for another host", "Give base_url by its name and not by its IP address"),
}
#: How OpenSSL finds a CA in a folder: by the hash of its name.
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_REHASH: Final = "Run openssl rehash on it, or give one PEM file that holds all of them"
_ON_EVERY_WORKER: Final = "Give a PEM file that stands on every worker and triggerer"


def trust_of(settings: PlatformSettings) -> ssl.SSLContext | bool:
    """Return what aiohttp takes as `ssl`: which servers this client trusts, and the certificate that it shows.

    Raises:
        SettingsInvalid: the files of `verify` or `cert` cannot be used on this machine.
    """
    if isinstance(settings.verify, bool) and not settings.cert:
        return settings.verify
    context = _trusting(settings.verify)
    if settings.cert:
        _show_certificate(context, settings.cert)
    return context


def _trusting(verify: bool | str) -> ssl.SSLContext:
    if isinstance(verify, bool):
        context = ssl.create_default_context()
        context.check_hostname = verify
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        return context
    path = Path(verify)
    try:
        if path.is_dir():
            if not any(_HASHED.fullmatch(each.name) for each in path.iterdir()):
                raise _unusable("verify", "the folder holds no certificate under its hashed name", _REHASH)
            return ssl.create_default_context(capath=verify)
        return ssl.create_default_context(cafile=verify)
    except ssl.SSLError:
        problem = "the file holds no certificate in PEM"
    except (OSError, ValueError) as error:
        problem = f"the file cannot be read on this machine ({type(error).__name__})"
    raise _unusable("verify", problem, f"{_ON_EVERY_WORKER}, or leave it out for the system's CAs")


def _show_certificate(context: ssl.SSLContext, cert: tuple[str, ...]) -> None:
    certificate, key = cert[0], cert[-1]
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except _Encrypted:
        problem = "its key is encrypted, and no task can type the passphrase"
    except ssl.SSLError as error:
        problem = (
            "the key belongs to another certificate"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "a certificate and its key in PEM are not in it"
        )
    except (OSError, ValueError) as error:
        problem = f"it cannot be read on this machine ({type(error).__name__})"
    else:
        return
    raise _unusable("cert", problem, f"{_ON_EVERY_WORKER}: certificate and key without a passphrase, or one path each")


class _Encrypted(Exception):
    """The key asks for a passphrase; without a callback OpenSSL would ask whoever sits at the terminal."""


def _no_passphrase() -> str:
    raise _Encrypted


def _unusable(field: str, problem: str, remedy: str) -> SettingsInvalid:
    return SettingsInvalid(field=field, problem=problem, remedy=remedy)


def tls_fault(error: aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError, host: str) -> tuple[str, str]:
    """Return what is wrong between both ends, as a clause, and what to do, as a sentence without its dot."""
    found = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error.os_error
    if isinstance(found, ssl.SSLCertVerificationError):
        fault, remedy = _FAULTS.get(found.verify_code, (f"is not accepted ({found.verify_message})", _GIVE_THE_CA))
        return f"the TLS certificate of {host} {fault}", remedy
    reason = getattr(found, "reason", None) or type(found).__name__
    return no_tls(host, reason)


def no_tls(host: str, reason: str) -> tuple[str, str]:
    """Return the clause and the sentence for two ends that do not come to speak TLS with each other."""
    remedy = (
        "Check scheme and port of base_url, which versions of TLS that host takes, and whether it demands a client's "
        "certificate (the extra cert)"
    )
    return f"{host} and this machine have no TLS version or cipher in common ({reason})", remedy
