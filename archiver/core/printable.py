"""
Escape untrusted text for a terminal: names of objects, dead letters and answers can contain any character.

Unsafe are control characters (C0, DEL, C1: they start escape sequences or new lines), format characters (category Cf:
invisible ones such as bidirectional overrides and tags), line and paragraph separators, and lone surrogates, which no
encoding can represent. ZWNJ and ZWJ are in category Cf but safe: Persian and emoji need them.
"""

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def _unsafe(char: str) -> bool:
    return unicodedata.category(char) in _UNSAFE and char not in _JOINERS


def printable(text: str) -> str:
    """Return *text* as one line without unsafe characters: a tab becomes a space, the others become U+FFFD."""
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _unsafe(char) else char for char in text.replace("\t", " "))


def printable_lines(text: str) -> str:
    """Apply `printable` to each line of *text*."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """Escape the unsafe characters in the strings of a JSON text. Line feeds between its tokens remain."""
    return "\n".join(
        line if line.isprintable() else "".join(_escape(char) if _unsafe(char) else char for char in line)
        for line in text.split("\n")
    )


def _escape(char: str) -> str:
    """Return the JSON escape of *char*: UTF-16 code units (RFC 8259, section 7)."""
    units = char.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
