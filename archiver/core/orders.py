"""Order files: requests in files instead of messages."""

import hashlib

SOURCE_ID = "orders"
"""Id of this source of messages, which is in the keys of archives."""

MAX_ORDER_BYTES = 1024 * 1024  # as of a message on SQS


def decode_order(data: bytes) -> str:
    """Return the text of an order file, without a byte order mark. Raises ValueError with the problem."""
    if len(data) > MAX_ORDER_BYTES:
        raise ValueError(f"has more than {MAX_ORDER_BYTES:,} bytes; list the files of a long request in a manifest")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def order_id(name: bytes, body: str, occurrence: int) -> str:
    """
    Return the message id of an order file: its *name* and its content, so that the same file is the same order when it
    is run again. *occurrence*: 1, or how often the run has named the file so far.
    """
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    shown = name.decode(errors="backslashreplace")
    return f"{shown}@{digest}" + (f"#{occurrence}" if occurrence > 1 else "")
