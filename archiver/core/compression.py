"""Decide which files to compress: text; not media, archives or unknown types, which are usually compressed already."""

import posixpath

# The content types of S3 objects that were stored without one.
_GENERIC_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})

_TEXT_SUBTYPES = "json xml javascript x-javascript ecmascript x-ndjson sql rtf postscript yaml x-yaml toml x-sh"
_COMPRESSIBLE_TYPES = frozenset(f"application/{kind}" for kind in _TEXT_SUBTYPES.split()) | {
    "image/bmp",
    "image/x-ms-bmp",
    "font/ttf",
    "font/otf",
}

_SUFFIXES = (
    "txt text md rst csv tsv json jsonl ndjson geojson xml html htm xhtml svg css js mjs ts yaml yml toml ini log "
    "sql rtf srt vtt tex ps eps py sh bmp ttf otf"
)
_COMPRESSIBLE_EXTENSIONS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


def is_compressible(content_type: str, path: str) -> bool:
    """Return whether `compression: auto` deflates a file: by content type, or by extension if the type is generic."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _GENERIC_TYPES:
        return posixpath.splitext(path)[1].lower() in _COMPRESSIBLE_EXTENSIONS
    return kind.startswith("text/") or kind.endswith(("+json", "+xml")) or kind in _COMPRESSIBLE_TYPES
