r"""
AWS_PROFILES_CREDENTIALS: credentials by the name of a profile, for commands that name one.

    name;key;secret;region#name;key;secret;region

White space around a value does not count. `\;`, `\#` and `\\` are these characters in a value. Problems are told by the
number of the profile: neither names nor secrets are ever shown.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FIELDS = ("name", "key", "secret", "region")

_TOKEN = re.compile(r"\\(.?)|([;#])|([^\\;#]+)", re.DOTALL)
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Profile:
    """The credentials of one profile, and its region. Nothing of them is in its `repr`."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    region: str = field(repr=False)

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment that makes a program use them."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


def parse_profiles(text: str) -> dict[str, Profile]:
    """Read the profiles of *text*, by name. Raises ValueError with the first problem."""
    profiles, problems = _read(text)
    if problems:
        raise ValueError(problems[0])
    return profiles


def find_profile_problems(text: str) -> list[str]:
    """Return a sentence for each profile of *text* that can't be used."""
    return _read(text)[1]


def _read(text: str) -> tuple[dict[str, Profile], list[str]]:
    profiles: dict[str, Profile] = {}
    problems: list[str] = []
    numbers: dict[str, int] = {}
    for number, values in enumerate(_split(text), start=1):
        problem = _find_problem(values)
        if problem is None and (first := numbers.setdefault(values[0], number)) != number:
            problem = f"has the name of profile {first}: give each its own"
        if problem is None:
            name, *credentials = values
            profiles[name] = Profile(*credentials)
        else:
            problems.append(f"profile {number} {problem}")
    return profiles, problems


def _split(text: str) -> Iterator[list[str]]:
    r"""Yield the values of each profile; a `\` before any other character stays, and is reported later."""
    values = [""]
    for token in _TOKEN.finditer(text):
        escaped, separator, plain = token.groups()
        if separator == "#":
            yield [value.strip() for value in values]
            values = [""]
        elif separator == ";":
            values.append("")
        elif plain is not None:
            values[-1] += plain
        else:
            values[-1] += escaped if escaped and escaped in "\\;#" else f"\0{escaped}"
    last = [value.strip() for value in values]
    if last != [""]:  # a `#` at the end is none too many
        yield last


def _find_problem(values: list[str]) -> str | None:
    if any("\0" in value for value in values):
        return r"has a \ before another character than ; # and \: write \\ for a \ in a value"
    if len(values) != len(FIELDS):
        hint = r": write \; and \# for these characters in a value" if len(values) > len(FIELDS) else ""
        return f"has {len(values)} values instead of name;key;secret;region{hint}"
    absent = [name for name, value in zip(FIELDS, values, strict=True) if not value]
    if absent:
        return f"has no {absent[0]}: name;key;secret;region are all needed"
    return _find_unusable(*values)


def _find_unusable(name: str, key: str, secret: str, region: str) -> str | None:
    if not name.isprintable():
        return "has a control character in its name"
    for what, value in (("key", key), ("secret", secret)):
        if not _VISIBLE.fullmatch(value):
            return f"has a space, or a character that is not ASCII, in its {what}"
    return None if _REGION.fullmatch(region) else "has a region that is none: write one like eu-west-1"
