"""Shared by `create`, `plan`, `send`, `status` and `verify`: parsed requests, AWS clients, texts of rejections."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_FAILED, EXIT_USAGE, CommandError, environment, print_json

if TYPE_CHECKING:
    from archiver.aws.clients import Clients
    from archiver.core.archive_rules import ArchiveRules
    from archiver.core.draft import Draft
    from archiver.core.messages import Request
    from archiver.core.plan import ArchiveSummary
    from archiver.core.waiting import WaitRules
    from archiver.errors import Rejected, SourceProblem
    from archiver.ports import ObjectRestorer, Roles
    from archiver.settings import Environment
    from archiver.stages.budget import BufferPool
    from archiver.stages.fetch import Fetcher

PLACEHOLDER_BUCKET = "the-bucket-of-the-worker"
MAX_PROBLEMS_SHOWN = 200  # problems that are printed; the rest are counted


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A validated request, its settings, and the draft of its archive."""

    settings: "Environment"
    request: "Request"
    rules: "ArchiveRules"
    draft: "Draft"


@dataclass(frozen=True, slots=True)
class BuildResources:
    """AWS clients, object fetcher, buffer pool, the roles that requests may name, and what restores objects."""

    clients: "Clients"
    fetcher: "Fetcher"
    budget: "BufferPool"
    roles: "Roles | None" = None
    restorer: "ObjectRestorer | None" = None


def parse_archive_request(body: str) -> "Request":
    """Read the request for an archive in *body*. Raises Rejected."""
    from archiver.core.dialects import dialect_of
    from archiver.errors import Rejected

    request = dialect_of(body).parse_request(body)
    if request.command is not None:
        raise Rejected("invalid_request", "the request is for a command: send it, or name its file to archiver run")
    return request


def load_request(body: str, *needs: str) -> BuildRequest:
    """
    Parse *body* and draft its archive with the settings of the environment. *needs*: names of required settings.

    Raises Rejected, SettingsError.
    """
    from archiver.app import archive_rules
    from archiver.core.draft import draft_archive
    from archiver.settings import load_environment, require_settings

    settings = load_environment(environment())
    require_settings(settings, *needs)
    request, rules = parse_archive_request(body), archive_rules(settings)
    return BuildRequest(settings, request, rules, draft_archive(request, rules, datetime.now(UTC)))


def check_request(body: str, settings: "Environment") -> None:
    """
    Check everything that the request alone decides, with the worker's settings as far as they are set here.

    Raises CommandError if the worker would reject the request.
    """
    from archiver.app import archive_rules
    from archiver.core.dialects import dialect_of
    from archiver.core.draft import draft_archive
    from archiver.core.entries import role_of
    from archiver.core.locations import AllowList, Role
    from archiver.errors import Rejected
    from archiver.jobs.archive import after_order

    rules = archive_rules(settings)
    rules = replace(rules, waiting=_most_permissive(rules.waiting, settings.model_fields_set))
    if settings.source_bucket is None:  # only the worker knows the bucket of bare keys and its allow list
        rules = replace(rules, source_bucket=PLACEHOLDER_BUCKET, allowed=AllowList(rules.destination_bucket))
    try:
        request = dialect_of(body).parse_request(body)
        if request.command is not None:
            if settings.policy_file is not None:  # else only the worker knows its commands
                rules.order_command(request)
            return
        request = _without_patterns(request)
        if settings.policy_file is None:  # only the worker knows its roles
            any_source = Role(AllowList(rules.destination_bucket))
            rules = replace(rules, roles={role: any_source for file in request.files if (role := role_of(file))})
        else:
            rules.attributes_of(request)
        draft = draft_archive(request, rules, datetime.now(UTC))
        if settings.policy_file is not None and settings.source_bucket is not None:
            after_order(request, draft, rules)
    except Rejected as rejected:
        raise CommandError(
            *rejection_lines(rejected), "nothing was sent; the worker would reject this request", code=EXIT_USAGE
        ) from None


def _most_permissive(rules: "WaitRules", known: set[str]) -> "WaitRules":
    """Return *rules* with the highest limits where their settings are not among *known*: only the worker has them."""
    from archiver.core.waiting import MAX_RESTORE_DAYS, MAX_WAIT_SECONDS, TIERS, WaitRules

    return WaitRules(
        limit=rules.limit if "wait_limit" in known else MAX_WAIT_SECONDS,
        tiers=rules.tiers if "restore_tiers" in known else TIERS,
        max_days=rules.max_days if "restore_max_days" in known else MAX_RESTORE_DAYS,
        restore_limit=rules.restore_limit if "restore_wait_limit" in known else MAX_WAIT_SECONDS,
    )


def _without_patterns(request: "Request") -> "Request":
    """Return *request* without its regular expressions if only the worker can judge them: RE2 is an extra."""
    from archiver.core.entries import Selection
    from archiver.core.patterns import is_available

    if is_available():
        return request
    files = (
        file.model_copy(update={"regex": None, "rename": None}) if isinstance(file, Selection) else file
        for file in request.files
    )
    return request.model_copy(update={"files": tuple(files)})


@asynccontextmanager
async def open_resources(settings: "Environment", rules: "ArchiveRules | None" = None) -> AsyncIterator[BuildResources]:
    """
    Open the S3 clients that a worker with *rules* has. Raises SettingsError if the `AWS_*` variables are unusable.
    """
    from archiver.app import MAX_CONCURRENT_READS, open_aws
    from archiver.aws.clients import ClientLimits
    from archiver.doors.sources import with_restores, with_roles
    from archiver.stages.budget import BufferPool
    from archiver.stages.fetch import Fetcher
    from archiver.stages.limiter import AdaptiveLimiter

    async with open_aws(ClientLimits(jobs=1), settings) as (clients, reader):
        roles = with_roles(reader, clients.session, rules) if rules else None
        fetcher = Fetcher(roles or reader, AdaptiveLimiter(MAX_CONCURRENT_READS))
        restorer = with_restores(settings, reader, roles)
        yield BuildResources(clients, fetcher, BufferPool(settings.memory_budget), roles, restorer)


def collect_rejections(body: str) -> tuple[BuildRequest | None, list["Rejected"]]:
    """
    Like `load_request`, but collect all rejections of *body* instead of raising the first.

    Returns the request without its rejected files (None if no file is left) and the rejections. Raises SettingsError;
    Rejected if *body* is not a valid request.
    """
    from archiver.app import archive_rules
    from archiver.core.draft import draft_archive
    from archiver.errors import Rejected
    from archiver.settings import load_environment

    settings = load_environment(environment())
    request, rules, rejections = parse_archive_request(body), archive_rules(settings), list[Rejected]()
    sent_at = datetime.now(UTC)
    while request.files or request.manifest:
        try:
            return BuildRequest(settings, request, rules, draft_archive(request, rules, sent_at)), rejections
        except Rejected as rejected:
            rejections.append(rejected)
            if request.manifest:
                break
            rejected_sources = {one.source for one in rejected.sources}
            change = {"files": tuple(file for file in request.files if file.source not in rejected_sources)}
            is_conflict = rejected.code == "name_conflict"  # keep both files: each is valid by itself
            request = request.model_copy(update={"on_duplicate": "rename"} if is_conflict else change)
    return None, rejections


@contextmanager
def rejections_as_errors(*, as_json: bool) -> Iterator[None]:
    """
    Turn Rejected into a CommandError with one line per problem. *as_json*: also print them on standard output.

    A transient error that a worker would retry until the last receive and then reject is reported at once: the user
    of the command can fix it.
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


def rejection_error(*rejections: "Rejected", as_json: bool) -> CommandError:
    """
    Return the error for a request that is rejected for one or more reasons.

    *as_json*: also print it on standard output: `error` is the first rejection, at which a worker stops; `errors` has
    all of them.
    """
    if as_json:
        errors = [
            {
                "code": rejected.code,
                "message": rejected.message,
                "sources": [{"source": one.source, "code": one.code, "detail": one.detail} for one in rejected.sources],
            }
            for rejected in rejections
        ]
        others = {"errors": errors} if len(errors) > 1 else {}
        print_json({"status": "failed", "error": errors[0], **others})
    return CommandError(*(line for rejected in rejections for line in rejection_lines(rejected)), code=EXIT_FAILED)


def rejection_lines(rejected: "Rejected") -> list[str]:
    """
    Return one line per problem of *rejected*.

    Problems of objects carry S3's detail. Problems of the request itself are taken from the message, which lists only
    the first ones; the lines of the remaining sources follow.
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
    """Return the line for one unreadable object: source, code, detail."""
    return f"{problem.source}: {problem.reason}"


def truncate_lines(lines: list[str]) -> list[str]:
    """Return the first `MAX_PROBLEMS_SHOWN` of *lines*, indented, and a line with the number of the others."""
    more = len(lines) - MAX_PROBLEMS_SHOWN
    return [f"  {line}" for line in lines[:MAX_PROBLEMS_SHOWN]] + (
        [f"  and {more:,} more (--json lists all)"] if more > 0 else []
    )


def missing_data(summary: "ArchiveSummary") -> list[dict[str, str]]:
    """Return the `missing` list of an answer, with S3's detail for each object."""
    return [{"source": one.source, "code": one.code, "detail": one.detail} for one in summary.missing]


def renamed_data(summary: "ArchiveSummary") -> list[dict[str, str]]:
    """Return the `renamed` list of an answer."""
    return [{"source": one.source, "from": one.from_, "to": one.to} for one in summary.renamed]


def summary_lines(summary: "ArchiveSummary") -> Mapping[str, list[str]]:
    """Return the missing and the renamed files as lines of text, by title."""
    return {
        "missing": [source_problem_line(one) for one in summary.missing],
        "renamed": [f"{one.from_} is now {one.to}" for one in summary.renamed],
    }
