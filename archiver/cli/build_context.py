"""What `create` and `plan` share: a request without a queue, the means to build its archive here, and refusals."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archiver.cli.console import NO, USAGE, Problem, environment, say_json

if TYPE_CHECKING:
    from archiver.aws.clients import Clients
    from archiver.core.draft import Draft, Rules
    from archiver.core.messages import Request
    from archiver.core.plan import Outcome
    from archiver.errors import Rejected, SourceProblem
    from archiver.settings import Environment
    from archiver.stages.budget import Budget
    from archiver.stages.fetch import Fetcher

ELSEWHERE = "the-bucket-of-the-worker"
LISTED = 200  # problems that are printed one by one; the rest is counted


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request, and the archive as far as it alone decides it."""

    settings: "Environment"
    request: "Request"
    rules: "Rules"
    draft: "Draft"


@dataclass(frozen=True, slots=True)
class Means:
    """What an archive is built with."""

    clients: "Clients"
    fetcher: "Fetcher"
    budget: "Budget"


def order_of(body: str, *needs: str) -> Order:
    """
    What *body* asks for, by the settings of the environment, of which those called *needs* have to be there. Raises
    Rejected, SettingsError.
    """
    from archiver.app import rules_of
    from archiver.core.draft import draft_archive
    from archiver.core.messages import parse_request
    from archiver.settings import load_environment, needed

    settings = load_environment(environment())
    needed(settings, *needs)
    request, rules = parse_request(body), rules_of(settings)
    return Order(settings, request, rules, draft_archive(request, rules))


def check_for_queue(body: str, settings: "Environment") -> None:
    """
    All that the request alone decides, as far as it is known here what the worker's settings are. Raises Problem where
    the worker would reject it.
    """
    from archiver.app import rules_of
    from archiver.core.draft import draft_archive
    from archiver.core.locations import AllowList
    from archiver.core.messages import parse_request
    from archiver.errors import Rejected

    rules = rules_of(settings)
    if settings.source_bucket is None:  # the worker knows where bare keys lie, and what is allowed there
        rules = replace(rules, source_bucket=ELSEWHERE, allowed=AllowList(rules.destination_bucket))
    try:
        draft_archive(parse_request(body), rules)
    except Rejected as rejected:
        raise Problem(*told(rejected), "nothing was sent: the worker would reject it", code=USAGE) from None


@asynccontextmanager
async def means_of(settings: "Environment") -> AsyncIterator[Means]:
    """Connected with S3, as a worker is. Raises SettingsError where the `AWS_*` variables are of no use."""
    from archiver.app import READS_AT_ONCE, connected
    from archiver.aws.clients import Limits
    from archiver.stages.budget import Budget
    from archiver.stages.fetch import Fetcher
    from archiver.stages.limiter import Limiter

    async with connected(Limits(jobs=1), settings) as (clients, reader):
        yield Means(clients, Fetcher(reader, Limiter(READS_AT_ONCE)), Budget(settings.memory_budget))


def looked_over(body: str) -> tuple[Order | None, list["Rejected"]]:
    """
    As `order_of`, for who wants to hear of everything at once: what *body* is rejected for, and what is left of it
    without that, if anything is. Raises SettingsError, and Rejected for what is no request at all.
    """
    from archiver.app import rules_of
    from archiver.core.draft import draft_archive
    from archiver.core.messages import parse_request
    from archiver.errors import Rejected
    from archiver.settings import load_environment

    settings = load_environment(environment())
    request, rules, refusals = parse_request(body), rules_of(settings), list[Rejected]()
    while request.files:
        try:
            return Order(settings, request, rules, draft_archive(request, rules)), refusals
        except Rejected as rejected:
            refusals.append(rejected)
            bad = {one.source for one in rejected.sources}
            change = {"files": tuple(file for file in request.files if file.source not in bad)}
            clash = rejected.code == "name_conflict"  # no fault of either file
            request = request.model_copy(update={"on_duplicate": "rename"} if clash else change)
    return None, refusals


@contextmanager
def refusals_told(*, as_json: bool) -> Iterator[None]:
    """
    A rejected request becomes a Problem with all that is wrong, a line each; *as_json*: on standard output, too.

    What a worker would try again until the last receive, and then reject, is rejected at once: who typed it is there
    to mend it.
    """
    from archiver.errors import Rejected, Temporary

    try:
        yield
    except Rejected as rejected:
        raise refused(rejected, as_json=as_json) from rejected
    except Temporary as error:
        if error.rejection is None:
            raise
        raise refused(error.rejection, as_json=as_json) from error


def refused(*all_: "Rejected", as_json: bool) -> Problem:
    """
    What to say of a request that is rejected for one reason or several; *as_json*: it is said on standard output
    already. A worker would stop at the first, which is `error`.
    """
    if as_json:
        errors = [
            {
                "code": rejected.code,
                "message": rejected.message,
                "sources": [{"source": one.source, "code": one.code, "detail": one.detail} for one in rejected.sources],
            }
            for rejected in all_
        ]
        others = {"errors": errors} if len(errors) > 1 else {}
        say_json({"status": "failed", "error": errors[0], **others})
    return Problem(*(line for rejected in all_ for line in told(rejected)), code=NO)


def told(rejected: "Rejected") -> list[str]:
    """
    Every problem of *rejected* on a line of its own. Those of objects say what S3 said; those of the request say so in
    the message, as far as it goes.
    """
    from archiver.core.problems import PROBLEMS_TOLD

    sources, code = rejected.sources, rejected.code
    lines = [problem_line(one) for one in sources]
    if not any(one.detail for one in sources):
        first, *others = rejected.message.split("; ")
        if len(sources) <= PROBLEMS_TOLD:
            return [f"{code}: {first}", *others]
        return [f"{code}: {first}", *others[: PROBLEMS_TOLD - 1], *cut(lines[PROBLEMS_TOLD:])]
    if len(lines) == 1:
        return [f"{code}: {rejected.message}"]
    return [f"{code}: {len(lines):,} objects can't be read", *cut(lines)]


def problem_line(problem: "SourceProblem") -> str:
    """One object, and why it can't be had."""
    detail = f" ({problem.detail})" if problem.detail else ""
    return f"{problem.source}: {problem.code}{detail}"


def cut(lines: list[str]) -> list[str]:
    """The first of *lines*, indented, and how many more there are."""
    more = len(lines) - LISTED
    return [f"  {line}" for line in lines[:LISTED]] + ([f"  and {more:,} more (--json has all)"] if more > 0 else [])


def left_out(outcome: "Outcome") -> list[dict[str, str]]:
    """What an answer's `missing` holds, with what S3 said of each."""
    return [{"source": one.source, "code": one.code, "detail": one.detail} for one in outcome.missing]


def renames(outcome: "Outcome") -> list[dict[str, str]]:
    """What an answer's `renamed` holds."""
    return [{"source": one.source, "from": one.from_, "to": one.to} for one in outcome.renamed]


def about(outcome: "Outcome") -> Mapping[str, list[str]]:
    """The same for people: lines by what they are about."""
    return {
        "left out": [problem_line(one) for one in outcome.missing],
        "renamed": [f"{one.from_} is {one.to}" for one in outcome.renamed],
    }
