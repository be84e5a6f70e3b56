"""Whom a call to the platform trusts, and what is wrong where it does not trust the other end."""

from __future__ import annotations

import ssl
from typing import Final

import aiohttp

from capillary.api.errors import SettingsInvalid
from capillary.api.settings import PlatformSettings

#: `X509_V_ERR_…` of OpenSSL: the fault of a certificate, and what to do.
_GIVE_THE_CA: Final = (
    "If a company's own CA signed it (a TLS-inspecting proxy, for one), give that CA's PEM file in the connection's "
    "ca_file"
)
_FAULTS: Final = {
    9: ("is not valid yet", "Check this machine's clock"),
    10: ("has expired", "Have it renewed by whoever runs that host, and check this machine's clock"),
    18: ("is self-signed and not trusted here", _GIVE_THE_CA),
    19: ("comes from a CA that is not trusted here", _GIVE_THE_CA),
    20: ("comes from a CA that is not trusted here", _GIVE_THE_CA),
    21: ("comes without the certificates between it and its CA", _GIVE_THE_CA),
    23: ("was revoked", "Ask whoever runs that host"),
    62: ("is made out for another host", "Check the host in base_url, or have that host's certificate corrected"),
    64: ("is made out for another host", "Give base_url by its name and not by its IP address"),
}


def trust_of(settings: PlatformSettings) -> ssl.SSLContext | bool:
    """Return what aiohttp takes as `ssl`: the system's CAs, those of `ca_file` in their place, or nobody's.

    Raises:
        SettingsInvalid: `ca_file` cannot be read here, or holds no certificate.
    """
    if not settings.ca_file or not settings.verify_tls:
        return settings.verify_tls
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError:
        problem = "the file holds no certificate in PEM"
    except (OSError, ValueError) as error:
        problem = f"the file cannot be read on this machine ({type(error).__name__})"
    raise SettingsInvalid(
        field="ca_file",
        problem=problem,
        remedy="Give the whole path of a PEM file that stands on every worker and triggerer, or leave it out",
    )


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
    return (
        f"{host} and this machine agree on no TLS ({reason})",
        "Check scheme and port of base_url, and which versions of TLS that host takes",
    )
