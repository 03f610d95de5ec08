"""Signed links, verified as CloudFront does: with the public key, for the exact URL, until `Expires`."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from archiver.aws.signed_urls import InvalidKeyError, LinkBase, SignedLinks, load_key
from archiver.core.locations import archive_key

BASE = LinkBase("https://d111.cloudfront.net/", "archives")
NOW = 1_800_000_000.7
KEY, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


def opened(url: str, key: rsa.RSAPrivateKey, now: float) -> str:
    """
    Verify *url* as CloudFront does, and return the path that CloudFront requests from the bucket.

    The canned policy is not in the URL. CloudFront rebuilds it from the URL without its signature and from `Expires`,
    so each byte must equal the signed one. Raises InvalidSignature, or AssertionError if the link has expired.
    """
    plain, _, query = url.partition("?")
    parameters = {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}
    assert set(parameters) == {"Expires", "Signature", "Key-Pair-Id"}
    condition = {"DateLessThan": {"AWS:EpochTime": int(parameters["Expires"])}}
    policy = {"Statement": [{"Resource": plain, "Condition": condition}]}
    signature = base64.b64decode(parameters["Signature"].translate(str.maketrans("-_~", "+=/")))
    message = json.dumps(policy, separators=(",", ":")).encode()
    key.public_key().verify(signature, message, PKCS1v15(), SHA1())
    assert parameters["Key-Pair-Id"] == "K1"
    assert now < int(parameters["Expires"])
    return urlsplit(plain).path


def links(key: str | None = None, seconds: int = 600) -> SignedLinks:
    return SignedLinks(BASE, "K1", key or pem(KEY), seconds, lambda: NOW)


async def test_a_signed_link_works_until_its_expiry_time() -> None:
    """F8: it fails from that second on, for another URL and with another key."""
    link = await links().link("3f/download.zip")

    assert opened(link.url, KEY, NOW) == "/3f/download.zip"
    assert link.expires_at == datetime.fromtimestamp(1_800_000_600, UTC)
    with pytest.raises(AssertionError):
        opened(link.url, KEY, NOW + 600)
    with pytest.raises(InvalidSignature):
        opened(link.url, OTHER, NOW)
    with pytest.raises(InvalidSignature):
        opened(link.url.replace("download", "other"), KEY, NOW)


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=40))
async def test_signed_links_with_special_characters_verify_for_the_requested_url(prefix: str) -> None:
    """F8: for any file name that Unicode allows."""
    key = archive_key("3f", prefix)

    assert opened((await links().link(key)).url, KEY, NOW) == f"/{quote(key, safe='/')}"


@pytest.mark.parametrize(
    "written",
    [str, lambda text: text.replace("\n", "\\n"), lambda text: f"\n  {text}\n"],
    ids=["as is", "one line", "padded"],
)
async def test_pem_text_is_accepted_as_is_on_one_line_or_padded(written: Callable[[str], str]) -> None:
    assert opened((await links(written(pem(KEY))).link("a")).url, KEY, NOW) == "/a"


SMALL = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----", "is not a private key in PEM format"),
        (pem(KEY, b"passphrase"), "is encrypted; provide it without a passphrase"),
        (pem(EC), "is not an RSA key"),
        (pem(SMALL), "has 1024 bits"),
        ("/no/such/file", r"is neither PEM text nor a readable file \(No such file or directory\)"),
        ("/", r"is neither PEM text nor a readable file \(Is a directory\)"),
    ],
)
def test_an_invalid_signing_key_is_reported_without_any_of_its_content(text: str, sentence: str) -> None:
    """F7: not PEM, encrypted, not RSA, too short, missing, or a directory."""
    with pytest.raises(InvalidKeyError, match=sentence) as caught:
        load_key(text)

    assert not any(line in str(caught.value) for line in text.split("\n") if line[:1] not in "-/")


async def test_a_replaced_key_file_is_used_from_the_next_link_on(tmp_path: Path) -> None:
    """F7: key rotation. An invalid file is logged, and the last valid key stays in use."""
    file = tmp_path / "key.pem"
    file.write_text(pem(KEY))
    signed = links(str(file))
    first = await signed.link("a")

    _replace(file, pem(OTHER))
    second = await signed.link("a")
    with capture_logs() as logs:
        _replace(file, "no key at all")
        third, fourth = await signed.link("a"), (await signed.link("a"))
        file.unlink()
        fifth = await signed.link("a")

    assert opened(first.url, KEY, NOW)
    assert all(opened(link.url, OTHER, NOW) for link in (second, third, fourth, fifth))
    assert [line["event"] for line in logs] == ["links.bad_key", "links.bad_key"]


def _replace(file: Path, text: str) -> None:
    """Replace *file* as secret stores do: rename a new file to the old name."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)
