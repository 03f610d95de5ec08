"""What is worth compressing: text is; media and archives are compressed already, and the unknown is taken for such."""

import posixpath

_GENERIC_TYPES = frozenset(
    {"", "application/octet-stream", "binary/octet-stream"}
)  # what S3 says of unlabelled objects

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
    """Tell whether `compression: auto` deflates a file: by its type, by extension where the type says nothing."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _GENERIC_TYPES:
        return posixpath.splitext(path)[1].lower() in _COMPRESSIBLE_EXTENSIONS
    return kind.startswith("text/") or kind.endswith(("+json", "+xml")) or kind in _COMPRESSIBLE_TYPES
