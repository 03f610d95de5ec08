"""Reads S3's XML answers and writes the body of CompleteMultipartUpload. No I/O; whatever is malformed is refused."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from archiver.errors import TransientError

MAX_TAGS = 200_000
"""A page of 1,000 objects with owners and checksums has 30,000."""

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class MalformedXmlError(TransientError):
    """The answer is not the expected XML document: cut, or not from S3."""


class Element:
    """An element: its children hold text, or children of their own. Names are without namespaces."""

    __slots__ = ("_element", "_texts")

    def __init__(self, element: ET.Element) -> None:
        self._element = element
        self._texts = {_local_name(child): child.text or "" for child in element}

    def text(self, name: str) -> str:
        """Return the text of the child *name*; empty if there is none."""
        return self._texts.get(name, "")

    def required(self, name: str) -> str:
        """Like `text`. Raises MalformedXmlError if it is empty or absent."""
        text = self._texts.get(name)
        if not text:
            raise MalformedXmlError(f"{_local_name(self._element)[:64]} without {name} in S3's answer")
        return text

    def elements(self, name: str) -> "Iterator[Element]":
        """Yield the children *name*."""
        return (Element(child) for child in self._element if _local_name(child) == name)

    def decode(self, text: str) -> str:
        """
        Of a listing: return the key, prefix or marker that *text* stands for, as `encoding-type=url` asked for.

        S3 encodes a space as `+` and a plus as `%2B`. A store that does not know this way leaves out EncodingType.
        Raises MalformedXmlError if the result is not valid UTF-8.
        """
        if self.text("EncodingType") != "url":
            return text
        try:
            return unquote_plus(text, errors="strict")
        except UnicodeDecodeError as error:
            raise MalformedXmlError("a key in S3's answer is not valid UTF-8") from error


def read_xml(body: bytes, root: str) -> Element:
    """
    Parse *body*, whose root element must be *root*. The caller limits its length.

    White space may come first: S3 sends some while it completes an upload. Raises MalformedXmlError, also for what S3
    never sends: document types, entities of its own, comments and CDATA (all begin with `<!`), and other encodings.
    """
    try:
        text = body.decode().strip()
        if "<!" in text or text.count("<") > MAX_TAGS:
            raise MalformedXmlError(f"S3's answer has XML that {root} does not have")
        element = ET.fromstring(text)  # noqa: S314 - its attacks need a document type, refused above
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise MalformedXmlError(f"S3's answer is not a complete {root}: {error}") from error
    if _local_name(element) != root:
        raise MalformedXmlError(f"S3's answer is {_local_name(element)[:64]!r} instead of {root}")
    return Element(element)


class CompletedPart(NamedTuple):
    """One part that S3 acknowledged with *etag*. *crc32*: in base64; "" if the store gave none."""

    number: int
    etag: str
    crc32: str


def completion_body(parts: Iterable[CompletedPart]) -> bytes:
    """Return the body of CompleteMultipartUpload for *parts*, in ascending order of their numbers."""
    listed = "".join(
        [
            f"<Part><ETag>{escape(etag)}</ETag>{crc32 and f'<ChecksumCRC32>{crc32}</ChecksumCRC32>'}"
            f"<PartNumber>{number}</PartNumber></Part>"
            for number, etag, crc32 in parts
        ]
    )
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()


def _local_name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
