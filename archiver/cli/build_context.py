"""What `create` and `plan` share: a request without a queue, the means to build its archive here, and refusals."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_FAILED, EXIT_USAGE, CommandError, environment, print_json

if TYPE_CHECKING:
    from archiver.aws.clients import Clients
    from archiver.core.draft import ArchiveRules, Draft
    from archiver.core.messages import Request
    from archiver.core.plan import ArchiveSummary
    from archiver.errors import Rejected, SourceProblem
    from archiver.settings import Environment
    from archiver.stages.budget import BufferPool
    from archiver.stages.fetch import Fetcher

PLACEHOLDER_BUCKET = "the-bucket-of-the-worker"
MAX_PROBLEMS_SHOWN = 200  # problems that are printed one by one; the rest is counted


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A checked request, and the archive as far as it alone decides it."""

    settings: "Environment"
    request: "Request"
    rules: "ArchiveRules"
    draft: "Draft"


@dataclass(frozen=True, slots=True)
class BuildResources:
    """What an archive is built with."""

    clients: "Clients"
    fetcher: "Fetcher"
    budget: "BufferPool"


def load_request(body: str, *needs: str) -> BuildRequest:
    """
    What *body* asks for, by the settings of the environment, of which those called *needs* have to be there. Raises
    Rejected, SettingsError.
    """
    from archiver.app import archive_rules
    from archiver.core.dialects.native import parse_request
    from archiver.core.draft import draft_archive
    from archiver.settings import load_environment, require_settings

    settings = load_environment(environment())
    require_settings(settings, *needs)
    request, rules = parse_request(body), archive_rules(settings)
    return BuildRequest(settings, request, rules, draft_archive(request, rules))


def check_request(body: str, settings: "Environment") -> None:
    """
    All that the request alone decides, as far as it is known here what the worker's settings are. Raises Problem where
    the worker would reject it.
    """
    from archiver.app import archive_rules
    from archiver.core.dialects.native import parse_request
    from archiver.core.draft import draft_archive
    from archiver.core.locations import AllowList
    from archiver.errors import Rejected

    rules = archive_rules(settings)
    if settings.source_bucket is None:  # the worker knows where bare keys lie, and what is allowed there
        rules = replace(rules, source_bucket=PLACEHOLDER_BUCKET, allowed=AllowList(rules.destination_bucket))
    try:
        draft_archive(parse_request(body), rules)
    except Rejected as rejected:
        raise CommandError(
            *rejection_lines(rejected), "nothing was sent: the worker would reject it", code=EXIT_USAGE
        ) from None


@asynccontextmanager
async def open_resources(settings: "Environment") -> AsyncIterator[BuildResources]:
    """Connected with S3, as a worker is. Raises SettingsError where the `AWS_*` variables are of no use."""
    from archiver.app import MAX_CONCURRENT_READS, open_aws
    from archiver.aws.clients import ClientLimits
    from archiver.stages.budget import BufferPool
    from archiver.stages.fetch import Fetcher
    from archiver.stages.limiter import AdaptiveLimiter

    async with open_aws(ClientLimits(jobs=1), settings) as (clients, reader):
        yield BuildResources(
            clients, Fetcher(reader, AdaptiveLimiter(MAX_CONCURRENT_READS)), BufferPool(settings.memory_budget)
        )


def collect_rejections(body: str) -> tuple[BuildRequest | None, list["Rejected"]]:
    """
    As `load_request`, for who wants to hear of everything at once: what *body* is rejected for, and what is left of it
    without that, if anything is. Raises SettingsError, and Rejected for what is no request at all.
    """
    from archiver.app import archive_rules
    from archiver.core.dialects.native import parse_request
    from archiver.core.draft import draft_archive
    from archiver.errors import Rejected
    from archiver.settings import load_environment

    settings = load_environment(environment())
    request, rules, rejections = parse_request(body), archive_rules(settings), list[Rejected]()
    while request.files:
        try:
            return BuildRequest(settings, request, rules, draft_archive(request, rules)), rejections
        except Rejected as rejected:
            rejections.append(rejected)
            bad = {one.source for one in rejected.sources}
            change = {"files": tuple(file for file in request.files if file.source not in bad)}
            is_conflict = rejected.code == "name_conflict"  # no fault of either file
            request = request.model_copy(update={"on_duplicate": "rename"} if is_conflict else change)
    return None, rejections


@contextmanager
def rejections_as_errors(*, as_json: bool) -> Iterator[None]:
    """
    A rejected request becomes a Problem with all that is wrong, a line each; *as_json*: on standard output, too.

    What a worker would try again until the last receive, and then reject, is rejected at once: who typed it is there
    to mend it.
    """
    from archiver.errors import Rejected, TransientError

    try:
        yield
    except Rejected as rejected:
        raise rejection_error(rejected, as_json=as_json) from rejected
    except TransientError as error:
        if error.rejection is None:
            raise
        raise rejection_error(error.rejection, as_json=as_json) from error


def rejection_error(*all_: "Rejected", as_json: bool) -> CommandError:
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
        print_json({"status": "failed", "error": errors[0], **others})
    return CommandError(*(line for rejected in all_ for line in rejection_lines(rejected)), code=EXIT_FAILED)


def rejection_lines(rejected: "Rejected") -> list[str]:
    """
    Every problem of *rejected* on a line of its own. Those of objects say what S3 said; those of the request say so in
    the message, as far as it goes.
    """
    from archiver.core.problems import MAX_PROBLEMS_LISTED

    sources, code = rejected.sources, rejected.code
    lines = [source_problem_line(one) for one in sources]
    if not any(one.detail for one in sources):
        first, *others = rejected.message.split("; ")
        if len(sources) <= MAX_PROBLEMS_LISTED:
            return [f"{code}: {first}", *others]
        return [f"{code}: {first}", *others[: MAX_PROBLEMS_LISTED - 1], *truncate_lines(lines[MAX_PROBLEMS_LISTED:])]
    if len(lines) == 1:
        return [f"{code}: {rejected.message}"]
    return [f"{code}: {len(lines):,} objects can't be read", *truncate_lines(lines)]


def source_problem_line(problem: "SourceProblem") -> str:
    """One object, and why it can't be had."""
    detail = f" ({problem.detail})" if problem.detail else ""
    return f"{problem.source}: {problem.code}{detail}"


def truncate_lines(lines: list[str]) -> list[str]:
    """The first of *lines*, indented, and how many more there are."""
    more = len(lines) - MAX_PROBLEMS_SHOWN
    return [f"  {line}" for line in lines[:MAX_PROBLEMS_SHOWN]] + (
        [f"  and {more:,} more (--json has all)"] if more > 0 else []
    )


def missing_data(outcome: "ArchiveSummary") -> list[dict[str, str]]:
    """What an answer's `missing` holds, with what S3 said of each."""
    return [{"source": one.source, "code": one.code, "detail": one.detail} for one in outcome.missing]


def renamed_data(outcome: "ArchiveSummary") -> list[dict[str, str]]:
    """What an answer's `renamed` holds."""
    return [{"source": one.source, "from": one.from_, "to": one.to} for one in outcome.renamed]


def summary_lines(outcome: "ArchiveSummary") -> Mapping[str, list[str]]:
    """The same for people: lines by what they are about."""
    return {
        "left out": [source_problem_line(one) for one in outcome.missing],
        "renamed": [f"{one.from_} is {one.to}" for one in outcome.renamed],
    }
