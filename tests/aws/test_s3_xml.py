"""S3's XML is read whole or not at all, and what we write is read as it was meant."""

from contextlib import suppress
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.s3_xml import CompletedPart, MalformedXmlError, completion_body, read_xml

# What XML 1.0 can hold; a carriage return is read as a line feed.
TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"), min_size=1)
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'


def quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})


@given(keys=st.lists(TEXT), space=st.sampled_from(["", " ", "\n\n   \n"]), namespace=st.sampled_from(["", NAMESPACE]))
def test_every_key_of_a_page_is_read_as_it_is(keys: list[str], space: str, namespace: str) -> None:
    found = "".join(f"{space}<Contents><Key>{quoted(key)}</Key><Owner><ID>o</ID></Owner></Contents>" for key in keys)
    page = read_xml(f"{space}{DECLARED}{space}<L{namespace}>{found}<Key>k</Key>{space}</L>{space}".encode(), "L")

    assert [one.required("Key") for one in page.elements("Contents")] == keys
    assert page.text("Key") == "k"
    assert [one.text("ID") for one in page.elements("Owner")] == []


@given(keys=st.lists(TEXT, min_size=1), at=st.floats(0, 1, exclude_max=True))
def test_a_page_that_is_cut_is_refused_wherever_it_is_cut(keys: list[str], at: float) -> None:
    whole = ("<L>" + "".join(f"<Contents><Key>{quoted(key)}</Key></Contents>" for key in keys) + "</L>").encode()
    with pytest.raises(MalformedXmlError):
        read_xml(whole[: int(at * len(whole))], "L")


@given(body=st.binary() | st.text().map(str.encode) | TEXT.map(lambda text: f"<L><{text}></L>".encode()))
def test_no_bytes_whatever_raise_another_error(body: bytes) -> None:
    with suppress(MalformedXmlError):
        read_xml(body, "L").text("Key")


@given(parts=st.lists(st.tuples(st.integers(1, 10_000), TEXT)))
def test_the_body_of_complete_is_read_as_it_was_written(parts: list[tuple[int, str]]) -> None:
    body = completion_body(CompletedPart(number, etag, "AAAAAA==") for number, etag in parts)

    read = read_xml(body, "CompleteMultipartUpload").elements("Part")

    assert [(int(part.text("PartNumber")), part.text("ETag")) for part in read] == parts


def test_quotes_of_an_etag_are_written_as_entities() -> None:
    body = completion_body([CompletedPart(1, '"a&b"', "AAAAAA==")])
    assert b"<ETag>&quot;a&amp;b&quot;</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32><PartNumber>1</PartNumber>" in body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"<L><Key>a</L>",
        b"<L/><L/>",
        b"<L><Key>&unknown;</Key></L>",
        b"<L><Key>\x01</Key></L>",
        b"<L><Key>\xff</Key></L>",
        b"<L><Key><![CDATA[a]]></Key></L>",
        b"<L><!-- a --></L>",
        b'<!DOCTYPE L [<!ENTITY a "b">]><L>&a;</L>',
        "<L></L>".encode("utf-16"),
        b"<L>" + b"<a/>" * 200_000 + b"</L>",
    ],
)
def test_what_s3_never_sends_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedXmlError):
        read_xml(body, "L")


def test_what_must_be_there_and_is_not_is_an_error_that_names_it() -> None:
    with pytest.raises(MalformedXmlError, match="Contents without Key"):
        next(read_xml(b"<L><Contents><Key/></Contents></L>", "L").elements("Contents")).required("Key")


@pytest.mark.parametrize(
    ("encoding", "text", "key"),
    [("<EncodingType>url</EncodingType>", "a+b%2Bc%26%C3%BC%01", "a b+c&ü\x01"), ("", "a+b%2B", "a+b%2B")],
)
def test_a_key_is_decoded_where_the_listing_says_that_it_is_encoded(encoding: str, text: str, key: str) -> None:
    assert read_xml(f"<L>{encoding}</L>".encode(), "L").decode(text) == key


def test_a_key_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(MalformedXmlError):
        read_xml(b"<L><EncodingType>url</EncodingType></L>", "L").decode("%ff")
