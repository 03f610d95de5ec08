"""
Strangers' text made safe for a terminal: names of objects, dead letters and answers can hold anything.

Unsafe are control characters (C0, DEL, C1: what starts an escape sequence, or a new line), format characters (category
Cf: bidirectional overrides, tags and others that are not seen), line and paragraph separators, and lone surrogates,
which no encoding takes. ZWNJ and ZWJ are of category Cf, and safe: Persian and emoji need them.
"""

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def _unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE and char not in _JOINERS


def printable(text: str) -> str:
    """*text* as one line that a terminal shows and does not obey: a tab is a space, what else is unsafe U+FFFD."""
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _unsafe(char) else char for char in text.replace("\t", " "))


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """JSON with line feeds between its tokens: what else is unsafe, which only strings hold, is escaped."""
    return "\n".join(
        line if line.isprintable() else "".join(_escape(char) if _unsafe(char) else char for char in line)
        for line in text.split("\n")
    )


def _escape(char: str) -> str:
    """As JSON writes it: UTF-16 code units (RFC 8259, section 7)."""
    units = char.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
