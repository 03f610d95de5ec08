"""
Settings by reference: which parameter or secret a setting's value names, and what is taken from it.

    ssm:/archiver/base-url                    a parameter of Systems Manager; also with a version or label (`:3`)
    secretsmanager:archiver/keys              the text of a secret: its name or ARN
    secretsmanager:archiver/keys#links.key    a text or number of the secret's JSON, by a JMESPath expression
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Service = Literal["ssm", "secretsmanager"]

MAX_NAMES_PER_CALL = 10  # of GetParameters, API reference

_SELECTOR = re.compile(r"(?<=parameter)(/[^:]*):.*")
_PREFIX = re.compile(r"(ssm|secretsmanager):")
_PARAMETER = re.compile(r"(arn:aws[a-z-]*:ssm:[a-z0-9-]+:\d{12}:parameter)?/?[\w.-]+(/[\w.-]+)*(:[\w.-]+)?", re.ASCII)
_SECRET = re.compile(r"(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:)?[\w/+=.@-]{1,512}", re.ASCII)


class ReferenceProblem(ValueError):
    """A reference can't be used. The text says why and what to do; it never contains a value."""


class ReferencedText(str):
    """A setting's value that came by reference: no message shows it."""

    __slots__ = ()

    def strip(self, chars: str | None = None, /) -> "ReferencedText":
        """As of any text; the result is not shown either."""
        return ReferencedText(super().strip(chars))


@dataclass(frozen=True, slots=True)
class Reference:
    """
    What a setting refers to. *name*: of the parameter or secret, or its ARN. *expression*: JMESPath, None: the whole
    text.
    """

    service: Service
    name: str
    expression: str | None = None


def is_reference(text: str) -> bool:
    """Whether *text* refers to a parameter or secret, correctly or not."""
    return _PREFIX.match(text.strip()) is not None


def parse_reference(text: str) -> Reference:
    """Read *text*, for which `is_reference` holds. Raises ReferenceProblem."""
    service, _, rest = text.strip().partition(":")
    if service == "ssm":
        if not _PARAMETER.fullmatch(rest):
            raise ReferenceProblem("is no reference to a parameter: write ssm:/path/of/it")
        return Reference("ssm", rest)
    name, marked, expression = rest.partition("#")
    if not _SECRET.fullmatch(name) or (marked and not expression.strip()):
        raise ReferenceProblem(
            "is no reference to a secret: write secretsmanager:NAME, or secretsmanager:NAME#EXPRESSION with a JMESPath "
            "expression"
        )
    if marked:
        _compile(expression)
    return Reference("secretsmanager", name, expression if marked else None)


def find_references(environ: Mapping[str, str], variables: Iterable[str]) -> tuple[dict[str, Reference], list[str]]:
    """Return the references of those *variables* that have one, by variable, and a line for each that is invalid."""
    found, problems = dict[str, Reference](), list[str]()
    for variable in variables:
        text = environ.get(variable, "")
        if is_reference(text):
            try:
                found[variable] = parse_reference(text)
            except ReferenceProblem as problem:
                problems.append(f"{variable}: {problem}")
    return found, problems


def calls_for(references: Iterable[Reference]) -> list[Sequence[str]]:
    """Return the names of the parameters in *references*, each once, in groups of at most `MAX_NAMES_PER_CALL`."""
    names = list(dict.fromkeys(one.name for one in references if one.service == "ssm"))
    return [names[start : start + MAX_NAMES_PER_CALL] for start in range(0, len(names), MAX_NAMES_PER_CALL)]


def secrets_of(references: Iterable[Reference]) -> list[str]:
    """Return the names of the secrets in *references*, each once."""
    return list(dict.fromkeys(one.name for one in references if one.service == "secretsmanager"))


def reference_arn(reference: Reference, queue: str) -> str:
    """
    Return the ARN of what *reference* names, for a policy, in the region and account of *queue* (an ARN). Secrets have
    six random characters at the end of theirs ("What's in a Secrets Manager secret?").
    """
    partition, _, region, account = queue.split(":")[1:5]
    name = reference.name
    if reference.service == "secretsmanager":
        whole = f"arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-??????"
    else:
        whole = f"arn:{partition}:ssm:{region}:{account}:parameter/{name.lstrip('/')}"
    return _SELECTOR.sub(r"\1", name if name.startswith("arn:") else whole)


def select_value(reference: Reference, text: str) -> ReferencedText:
    """Return what *reference* takes from *text*, the value of its parameter or secret. Raises ReferenceProblem."""
    value: object = text
    if reference.expression is not None:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise ReferenceProblem(
                f"the secret {reference.name} is not JSON: leave out the # and what follows"
            ) from None
        value = _compile(reference.expression).search(document)
        if value is None:
            raise ReferenceProblem(f"the secret {reference.name} has nothing at {reference.expression}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ReferenceProblem(f"{reference.expression} of the secret {reference.name} is neither a text nor a number")
    if not str(value).strip():
        raise ReferenceProblem(f"what {reference.name} gives is empty")
    return ReferencedText(value)


def _compile(expression: str):  # type: ignore[no-untyped-def]  # jmespath has no types
    import jmespath  # noqa: PLC0415 - nothing of it without a reference
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    try:
        return jmespath.compile(expression)
    except JMESPathError:
        raise ReferenceProblem("what follows the # is no JMESPath expression, like links.key") from None
