"""A certificate authority of the tests' own, and what it signs: TLS on 127.0.0.1 as workers meet it elsewhere."""

import atexit
import datetime as dt
import ipaddress
import shutil
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class Trust(NamedTuple):
    """
    What servers of the tests serve with, as a context and as a file (PEM, the key in it), and the file
    (`AWS_CA_BUNDLE`) that makes clients trust it.
    """

    server_context: ssl.SSLContext
    bundle: str
    file: Path


@cache
def shared_trust() -> Trust:
    """One for all tests of this process: an authority, and a context for 127.0.0.1 and localhost."""
    folder = Path(tempfile.mkdtemp(prefix="certificates-"))
    atexit.register(shutil.rmtree, folder)
    issuer, bundle = make_authority(folder, "the tests' own authority")
    return Trust(make_server_context(folder, "127.0.0.1", issuer, "localhost"), bundle, folder / "server.pem")


DAY = dt.timedelta(days=1)


def make_certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: Authority | None = None,
    *others: str,
    valid: tuple[dt.timedelta, dt.timedelta] = (-DAY, DAY),
) -> x509.Certificate:
    """
    A certificate of the hosts *name* and *others* by *issuer*, or an authority's own. *valid*: from when until when,
    from now on.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        signs = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, decipher_only=False, **usage)
        builder = builder.add_extension(signs, critical=True)
    else:
        hosts = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            for host in (name, *others)
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def make_authority(folder: Path, name: str) -> tuple[Authority, str]:
    """An authority and the file that makes it trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = make_certificate(name, key)
    file = folder / f"{name}.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return Authority(key, made), str(file)


def make_server_context(
    folder: Path,
    host: str,
    issuer: Authority,
    *others: str,
    valid: tuple[dt.timedelta, dt.timedelta] = (-DAY, DAY),
) -> ssl.SSLContext:
    """A server's context, its certificate for *host* and *others*, *valid* as `make_certificate` says."""
    key = ec.generate_private_key(ec.SECP256R1())
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + make_certificate(host, key, issuer, *others, valid=valid).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
