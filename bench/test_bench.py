"""
The load server keeps what it was sent, and the check finds what is wrong with it.

Not part of `make test`: `python -m pytest bench`.
"""

import base64
import http.client
import io
import random
import re
import socket
import ssl
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pytest
from check import Archive, Block, Checker, WrongArchiveError, read_recipe
from server import ARCHIVES, SOURCES, LoadServer, NoTlsError, compile_c
from workloads import MIB, Workload

SIZE = 700_001
KEYS = [f"w1/{index:06}.jpg" for index in range(20)]


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    compile_c()
    loads = [Workload("W1", "", 20, SIZE, 0), Workload("W2", "", 3, 40_000_001, 0)]
    with LoadServer(loads) as running:
        yield running


@pytest.fixture
def block(server: LoadServer) -> Block:
    return Block(server)


@pytest.fixture
def good(block: Block) -> bytes:
    return zipped(block, KEYS)


def zipped(block: Block, keys: list[str], content: Callable[[str], str] = str) -> bytes:
    """A stored zip; *content* names the object whose bytes stand under a key."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for key in keys:
            archive.writestr(zipfile.ZipInfo(key), block.read(block.start(content(key)), SIZE))
    return memory.getvalue()


def request(
    server: LoadServer, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(
            method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def upload(server: LoadServer, archive: bytes) -> None:
    assert request(server, "PUT", f"/{ARCHIVES}/a.zip", archive)[0] == 200


def upload_parts(server: LoadServer, parts: list[bytes], **headers: str) -> tuple[int, bytes]:
    answer = request(server, "POST", f"/{ARCHIVES}/a.zip?uploads")[1]
    upload_id = re.search(rb"<UploadId>(.*)</UploadId>", answer)[1].decode()  # type: ignore[index]
    listed = ""
    for number, part in enumerate(parts, 1):
        etag = request(server, "PUT", f"/{ARCHIVES}/a.zip?partNumber={number}&uploadId={upload_id}", part)[2]["etag"]
        escaped = etag.replace('"', "&quot;")  # as some clients do
        listed += f"<Part><ETag>{escaped}</ETag><PartNumber>{number}</PartNumber></Part>"
    return request(server, "POST", f"/{ARCHIVES}/a.zip?uploadId={upload_id}", listed.encode(), **headers)[:2]


def base64_crc(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def assert_refused(server: LoadServer, archive: bytes, reason: str) -> None:
    upload(server, archive)
    with pytest.raises(WrongArchiveError, match=reason):
        Checker(server).check("a.zip", KEYS, SIZE)


# What is served


@pytest.mark.parametrize(("key", "size"), [("w1/000019.jpg", SIZE), ("w2/000002.jpg", 40_000_001)])
def test_objects_have_known_bytes_and_crcs_also_where_they_wrap(
    server: LoadServer, block: Block, key: str, size: int
) -> None:
    status, body, headers = request(server, "GET", f"/{SOURCES}/{key}", x_amz_checksum_mode="ENABLED")
    assert (status, body == block.read(block.start(key), size)) == (200, True)
    assert headers["x-amz-checksum-crc32"] == base64_crc(body)
    assert block.crc(key, size) == zlib.crc32(body)


def test_ranges_are_cut_out_of_the_object_and_pinned_to_its_etag(server: LoadServer) -> None:
    whole, headers = request(server, "GET", f"/{SOURCES}/{KEYS[3]}")[1:]
    status, body, ranged = request(
        server, "GET", f"/{SOURCES}/{KEYS[3]}", Range="bytes=7-70006", If_Match=headers["etag"]
    )
    assert (status, body == whole[7:70007], ranged["content-range"]) == (206, True, f"bytes 7-70006/{SIZE}")
    assert request(server, "GET", f"/{SOURCES}/{KEYS[3]}", If_Match='"other"')[0] == 412
    assert request(server, "GET", f"/{SOURCES}/{KEYS[3]}", Range=f"bytes={SIZE}-")[0] == 416
    assert request(server, "GET", f"/{SOURCES}/w1/000020.jpg")[0] == 404


@pytest.fixture
def tls_port() -> Iterator[tuple[LoadServer, ssl.SSLContext]]:
    try:
        compile_c(tls=True)
    except NoTlsError as error:
        pytest.skip(str(error))
    with LoadServer([Workload("W1", "", 20, SIZE, 0)], tls=True) as running:
        trusting = ssl.create_default_context(cafile=running.certificate)
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # as from Python 3.13 on
        yield running, trusting


def test_what_goes_by_tls_is_what_goes_without(tls_port: tuple[LoadServer, ssl.SSLContext], good: bytes) -> None:
    server, trusting = tls_port
    connection = http.client.HTTPSConnection(server.endpoint.removeprefix("https://"), context=trusting)
    for key in KEYS:
        connection.request("GET", f"/{SOURCES}/{key}")
        assert connection.getresponse().read() == request(server, "GET", f"/{SOURCES}/{key}")[1]
    connection.request("PUT", f"/{ARCHIVES}/a.zip", good)
    assert connection.getresponse().read() == b""
    Checker(server).check("a.zip", KEYS, SIZE)
    cipher = connection.sock.cipher()
    assert cipher
    assert cipher[0] == "TLS_AES_128_GCM_SHA256"
    connection.close()


# What is kept


def test_any_upload_can_be_read_again_byte_for_byte(server: LoadServer, block: Block) -> None:
    chance = random.Random(1)
    for _ in range(20):
        pieces = [
            chance.randbytes(chance.randrange(50)) + block.read(chance.randrange(1 << 30), chance.randrange(400_000))
            for _ in range(chance.randrange(1, 8))
        ]
        body = b"".join(pieces)
        upload(server, body)
        segments = list(read_recipe(server.ask("/_recipe/a.zip")))
        assert Archive(block, segments).read() == body
        assert sum(len(segment.literal or b"") for segment in segments) < 60 * len(pieces) + 60


def aws_chunked(body: bytes, trailer: bytes) -> bytes:
    pieces = [body[at : at + 65_537] for at in range(0, len(body), 65_537)]
    chunks = b"".join(b"%x;chunk-signature=%064d\r\n%b\r\n" % (len(piece), 0, piece) for piece in pieces)
    return chunks + b"0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize("transfer", ["length", "chunked"])
@pytest.mark.parametrize(("crc", "status"), [(None, 200), ("AAAAAA==", 400)])
def test_aws_chunked_bodies_are_taken_apart_and_their_trailer_is_believed_only_if_true(
    server: LoadServer, good: bytes, transfer: str, crc: str | None, status: int
) -> None:
    server.ask("/_reset")
    body = aws_chunked(good, f"x-amz-checksum-crc32:{crc or base64_crc(good)}\r\n".encode())
    head = f"PUT /{ARCHIVES}/a.zip HTTP/1.1\r\nContent-Encoding: aws-chunked\r\n"
    head += f"X-Amz-Decoded-Content-Length: {len(good)}\r\n"
    if transfer == "chunked":
        pieces = [body[at : at + 50_001] for at in range(0, len(body), 50_001)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        head += "Transfer-Encoding: chunked\r\n\r\n"
    else:
        head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        for at in range(0, len(data := head.encode() + body), 9_973):  # pieces that cut chunk headers in two
            raw.sendall(data[at : at + 9_973])
        assert raw.recv(65536).startswith(b"HTTP/1.1 %d " % status)
    if status == 200:
        Checker(server).check("a.zip", KEYS, SIZE)


@pytest.mark.parametrize("promised", [-1, 1])
def test_an_aws_chunked_body_of_another_length_than_promised_is_refused(server: LoadServer, promised: int) -> None:
    body = aws_chunked(b"x" * 100_000, b"")
    headers = {"Content_Encoding": "aws-chunked", "X_Amz_Decoded_Content_Length": str(100_000 + promised)}
    assert request(server, "PUT", f"/{ARCHIVES}/a.zip", body, **headers)[0] == 400


# What is checked


def test_a_good_archive_passes_in_one_piece_and_in_parts(server: LoadServer, good: bytes) -> None:
    upload(server, good)
    Checker(server).check("a.zip", KEYS, SIZE)
    parts = [good[: 5 * MIB], good[5 * MIB : 10 * MIB + 3], good[10 * MIB + 3 :]]
    assert (
        upload_parts(server, parts, x_amz_checksum_crc32=base64_crc(good), x_amz_mp_object_size=str(len(good)))[0]
        == 200
    )
    Checker(server).check("a.zip", KEYS, SIZE)


@pytest.mark.parametrize("at", [100, 699_000, 7_000_003, SIZE * 20 - 5])
def test_one_wrong_byte_of_content_is_found(server: LoadServer, good: bytes, at: int) -> None:
    assert_refused(server, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "content is wrong")


def test_a_missing_an_additional_and_a_misplaced_member_are_found(server: LoadServer, block: Block) -> None:
    for keys in (KEYS[:-1], KEYS[1:], [*KEYS, "w1/000001.jpg.txt"[:13] + "x"], [KEYS[1], KEYS[0], *KEYS[2:]]):
        assert_refused(server, zipped(block, keys, lambda key: key[:13]), "members, not the 20")


def test_two_objects_of_one_size_that_changed_places_are_found(server: LoadServer, block: Block) -> None:
    exchanged = {KEYS[4]: KEYS[5], KEYS[5]: KEYS[4]}
    assert_refused(server, zipped(block, KEYS, lambda key: exchanged.get(key, key)), "CRC is wrong")


def test_parts_in_the_wrong_order_are_found(server: LoadServer, good: bytes) -> None:
    parts = [good[: 5 * MIB], good[5 * MIB : 10 * MIB], good[10 * MIB :]]
    assert upload_parts(server, [parts[1], parts[0], parts[2]])[0] == 200
    with pytest.raises(WrongArchiveError):
        Checker(server).check("a.zip", KEYS, SIZE)


def test_the_stretches_of_one_long_member_in_the_wrong_order_are_found(server: LoadServer, block: Block) -> None:
    """The content of a long member repeats the block; no two parts of one size may look alike for that."""
    size, key = 40_000_001, "w2/000000.jpg"
    content = block.read(block.start(key), size)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr(zipfile.ZipInfo(key), content)
    whole, part = memory.getvalue(), 8 * MIB
    upload(server, whole)
    Checker(server).check("a.zip", [key], size)
    for one, other in ((0, 4), (1, 2)):
        parts = [whole[at : at + part] for at in range(0, len(whole), part)]
        parts[one] = parts[one][:100] + parts[other][100:MIB] + parts[one][MIB:]
        upload(server, b"".join(parts))
        with pytest.raises(WrongArchiveError, match="content is wrong"):
            Checker(server).check("a.zip", [key], size)


@pytest.mark.parametrize(
    ("mark", "offset", "reason"),
    [
        (b"PK\1\2", 16, "CRC is wrong"),
        (b"PK\3\4", 14, "CRC is wrong"),
        (b"PK\3\4", 30, "local header"),
        (b"PK\3\4", 8, "local header"),
    ],
)
def test_a_wrong_header_is_found(server: LoadServer, good: bytes, mark: bytes, offset: int, reason: str) -> None:
    at = good.rfind(mark) + offset
    assert_refused(server, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], reason)


def test_a_truncated_archive_and_none_at_all_are_found(server: LoadServer, good: bytes) -> None:
    assert_refused(server, good[:-30], "a.zip")
    server.ask("/_reset")
    with pytest.raises(WrongArchiveError, match="404"):
        Checker(server).check("a.zip", KEYS, SIZE)


def test_completing_with_a_wrong_crc_size_or_short_part_is_refused(server: LoadServer, good: bytes) -> None:
    parts = [good[: 5 * MIB], good[5 * MIB :]]
    assert b"BadDigest" in upload_parts(server, parts, x_amz_checksum_crc32="AAAAAA==")[1]
    assert b"InvalidRequest" in upload_parts(server, parts, x_amz_mp_object_size="7")[1]
    assert b"EntityTooSmall" in upload_parts(server, [good[:MIB], good[MIB:]])[1]
