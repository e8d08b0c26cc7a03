"""A certificate authority that lives as long as the fake does."""

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIVES = timedelta(days=7)
HOSTS = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def make_server_context(ca_file: Path) -> ssl.SSLContext:
    """Return a context for localhost and 127.0.0.1; its authority is written to `ca_file` (PEM)."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("recall-links lab authority")
    ca = _ca(ca_name, ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _leaf(ca_name, ca_key, key)
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    return _context(leaf, key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _blank(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    # Valid since yesterday, so a clock that is set back does not spoil a run.
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIVES)
    )


def _ca(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    signing = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _blank(name, name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    issuer: x509.Name, ca_key: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _blank(_name("localhost"), issuer)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(HOSTS), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _context(leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    pem = leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
