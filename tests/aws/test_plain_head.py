"""The quick reader of heads accepts less than the strict one, and never reads anything else out of them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archiver.aws.plain_head import MAX_SEEN, MAX_SHAPES, PlainHeads
from archiver.aws.s3_responses import object_info
from archiver.core.objects import ObjectInfo
from archiver.errors import ArchiverError
from archiver.http.parse import ProtocolError, body_length, parse_head

FIELDS = (
    b"Content-Length: 20000",
    b'ETag: "0123456789abcdef"',
    b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
    b"Content-Type: image/jpeg",
)


def head(*fields: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *fields, b"", b""])


def strictly(block: bytes) -> ObjectInfo | None:
    """What the strict reader reads of a whole object; None for anything else."""
    try:
        parsed = parse_head(block)
        if parsed.status != 200 or not parsed.keep_alive or body_length("GET", parsed) < 0:
            return None
        return object_info(parsed)
    except (ProtocolError, ArchiverError):
        return None


NAMES = st.sampled_from(
    b"""
    content-length content-LENGTH etag ETag last-modified Last-Modified content-type transfer-encoding connection
    x-amz-checksum-crc32 x-amz-checksum-type x-amz-storage-class x-amz-restore content-range x-amz-archive-status
    x-amz-version-id x-amz-request-id server date x(y : a\0b
    """.split()
)
VALUES = st.one_of(
    st.sampled_from(
        b"""5
 5
+5
05
5, 5
111111111111111111111111111111

chunked
close
keep-alive
Keep-Alive
STANDARD_IA
GLACIER
FULL_OBJECT
COMPOSITE
AAAAAA==
AAAA
AAAAAA==-2
"x"
\t
ongoing-request="false"
Sun, 06 Nov 1994 08:49:37 GMT
Sun, 31 Feb 1994 08:49:37 GMT
Sun, 06 Nov 0094 08:49:37 GMT
Sun, 06 Nov 1994 08:49:60 GMT
Sunday, 06-Nov-94 08:49:37 GMT
soon""".split(b"\n")
    ),
    st.binary(max_size=12),
)
LINES = st.lists(
    st.tuples(NAMES, st.sampled_from([b":", b": ", b" :", b"", b"\r\n "]), VALUES).map(b"".join), max_size=6
)


@settings(max_examples=400, deadline=None)
@given(
    status=st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ok", b"HTTP/1.0 200 OK", b"HTTP/1.1 206 OK", b"HTTP/1.1 200"]
    ),
    lines=LINES,
    usual=st.booleans(),
    others=LINES,
)
@example(status=b"HTTP/1.1 200 OK", lines=[b"Content-Length: 5", b"content-length: 5"], usual=False, others=[])
@example(status=b"HTTP/1.1 200 OK", lines=[FIELDS[2]], usual=True, others=[])
@example(status=b"HTTP/1.1 200 OK", lines=[b"transfer-encoding: chunked"], usual=True, others=[])
@example(
    status=b"HTTP/1.1 200 OK",
    lines=[b"x-amz-checksum-crc32: AAAAAA==", b"x-amz-checksum-type: COMPOSITE"],
    usual=True,
    others=[],
)
def test_what_it_accepts_the_strict_reader_reads_as_well(
    status: bytes, lines: list[bytes], usual: bool, others: list[bytes]
) -> None:
    block = head(*(FIELDS if usual else ()), *lines, status=status)

    heads = PlainHeads()
    like_it = head(*(FIELDS if usual else ()), *others, status=status)
    for one in (block, block, like_it):  # the second makes a shape, and the third has other values
        found = heads.read(one)
        assert found is None or found == strictly(one)


@pytest.mark.parametrize(
    "more",
    [
        (),
        (b"x-amz-checksum-crc32: AAAAAA==", b"x-amz-checksum-type: FULL_OBJECT"),
        (b"x-amz-storage-class: STANDARD_IA", b"Connection: Keep-Alive"),
        (b"x-amz-version-id: 3/L4kqtJ",),
        (b"Server: AmazonS3", b"x-amz-id-2: a/b+c=", b"x-amz-meta-x: y: z"),
    ],
)
def test_it_accepts_what_s3_answers(more: tuple[bytes, ...]) -> None:
    block = head(*FIELDS, *more)

    heads = PlainHeads()
    assert [heads.read(block) for _ in range(4)] == [strictly(block)] * 4
    assert strictly(block) is not None
    assert len(heads._shapes) == 1


@pytest.mark.parametrize(
    "block",
    [
        head(*FIELDS, b"Connection: close"),
        head(*FIELDS, b"x-amz-storage-class: GLACIER"),
        head(*FIELDS, b'x-amz-restore: ongoing-request="false"'),
        head(*FIELDS, b"Transfer-Encoding: chunked"),
        head(*FIELDS, b"Content-Length: 20000"),
        head(*FIELDS, status=b"HTTP/1.1 404 Not Found"),
        head(*FIELDS, status=b"HTTP/1.1 206 Partial Content"),
        head(*FIELDS[:1], *FIELDS[2:]),
        head(*FIELDS[1:]),
    ],
)
def test_it_leaves_the_rest_to_the_strict_reader(block: bytes) -> None:
    heads = PlainHeads()
    assert [heads.read(block) for _ in range(4)] == [None] * 4


def test_what_a_shape_does_not_match_is_read_strictly() -> None:
    heads = PlainHeads()
    usual = head(*FIELDS)
    assert [heads.read(usual) for _ in range(2)] == [strictly(usual)] * 2

    for field in (b"Content-Length: x", b"ETag: ", b"Last-Modified: Sun, 31 Feb 1994 08:49:37 GMT"):
        name = field.partition(b":")[0]
        other = head(*[field if one.startswith(name) else one for one in FIELDS])
        assert heads.read(other) == strictly(other)


def test_values_that_no_shape_takes_do_not_crowd_out_the_shapes_of_others() -> None:
    """Objects uploaded in parts have a checksum of parts, under the same names."""
    heads = PlainHeads()
    of_parts = head(*FIELDS, b"x-amz-checksum-crc32: AAAAAA==-2", b"x-amz-checksum-type: COMPOSITE")
    repeated = head(*FIELDS, FIELDS[3])
    for block in (of_parts, repeated):
        for _ in range(2 * MAX_SHAPES):
            assert heads.read(block) == strictly(block)

    assert len(heads._shapes) == 1


def test_servers_that_write_ever_new_fields_cost_no_memory() -> None:
    heads = PlainHeads()
    for number in range(2 * MAX_SEEN):
        for _ in range(2):
            assert heads.read(head(*FIELDS, b"x-amz-meta-%d: 1" % number)) is not None

    assert (len(heads._shapes), len(heads._seen)) == (MAX_SHAPES, MAX_SHAPES)
