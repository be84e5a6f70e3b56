"""A CA of a test, and what it certifies."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
        self,
        *,
        valid: tuple[timedelta, timedelta] = (-DAY, DAY),
        name: x509.GeneralName = ADDRESS,
        demanding: bool = False,
    ) -> ssl.SSLContext:
        """Return what a server needs that this CA has certified; `demanding` a client's certificate of this CA, too."""
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
        if demanding:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.pem)
        return context

    def client(self, name: str = "client", *, passphrase: bytes | None = None) -> tuple[Path, Path]:
        """Return the files of a client's certificate and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        sealed = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        certificate, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._sign(named(name), key.public_key(), (-DAY, DAY)))
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed))
        return certificate, secret

    def hashed(self) -> Path:
        """Return a folder that holds the CA as `openssl rehash` leaves it."""
        folder = self.folder / "hashed"
        folder.mkdir()
        (folder / f"{_subject_hash(self.name)}.0").write_bytes(self.pem.read_bytes())
        return folder


def _subject_hash(name: x509.Name) -> str:
    """Return the hash under which OpenSSL looks a CA of one short name up (`X509_NAME_hash`): of its lower case."""
    (common,) = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    canonical = named(str(common.value).lower()).public_bytes()[2:]  # without the header of its sequence
    return f"{int.from_bytes(hashlib.sha1(canonical, usedforsecurity=False).digest()[:4], 'little'):08x}"
