"""Signed links, judged as CloudFront judges them: with the public key, for the exact URL, until the time in it."""

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
    What CloudFront does with a request for *url*: the path that it asks of the bucket. Raises where it would refuse.

    The canned policy is not in the URL: it is made anew from the URL before the signature and from `Expires`, which is
    why every byte has to be the one that was signed.
    """
    plain, _, query = url.partition("?")
    told = {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}
    assert set(told) == {"Expires", "Signature", "Key-Pair-Id"}
    condition = {"DateLessThan": {"AWS:EpochTime": int(told["Expires"])}}
    policy = {"Statement": [{"Resource": plain, "Condition": condition}]}
    signature = base64.b64decode(told["Signature"].translate(str.maketrans("-_~", "+=/")))
    message = json.dumps(policy, separators=(",", ":")).encode()
    key.public_key().verify(signature, message, PKCS1v15(), SHA1())
    assert told["Key-Pair-Id"] == "K1"
    assert now < int(told["Expires"])
    return urlsplit(plain).path


def links(key: str | None = None, seconds: int = 600) -> SignedLinks:
    return SignedLinks(BASE, "K1", key or pem(KEY), seconds, lambda: NOW)


async def test_a_link_opens_the_archive_until_the_time_that_the_answer_tells() -> None:
    """F8: and not a second longer, nor with another key."""
    link = await links().link("3f/download.zip")

    assert opened(link.url, KEY, NOW) == "/3f/download.zip"
    assert link.expires_at == datetime.fromtimestamp(1_800_000_600, UTC)
    with pytest.raises(AssertionError):
        opened(link.url, KEY, NOW + 600)
    with pytest.raises(InvalidSignature):
        opened(link.url, OTHER, NOW)
    with pytest.raises(InvalidSignature):
        opened(link.url.replace("download", "other"), KEY, NOW)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=40))
async def test_names_with_odd_characters_verify_as_they_are_asked_for(prefix: str) -> None:
    """F8"""
    key = archive_key("3f", prefix)

    assert opened((await links().link(key)).url, KEY, NOW) == f"/{quote(key, safe='/')}"


@pytest.mark.parametrize(
    "written",
    [str, lambda text: text.replace("\n", "\\n"), lambda text: f"\n  {text}\n"],
    ids=["as is", "one line", "padded"],
)
async def test_the_key_is_pem_text_however_the_environment_holds_it(written: Callable[[str], str]) -> None:
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
def test_what_is_no_key_is_told_without_a_byte_of_it(text: str, sentence: str) -> None:
    """F7"""
    with pytest.raises(InvalidKeyError, match=sentence) as caught:
        load_key(text)

    assert not any(line in str(caught.value) for line in text.split("\n") if line[:1] not in "-/")


async def test_a_key_file_that_is_replaced_signs_from_the_next_link_on(tmp_path: Path) -> None:
    """F7: rotation. A bad one is told, and the last good one goes on."""
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
    """As secret stores do it: a new file under the old name."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)
