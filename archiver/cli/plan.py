"""`archiver plan`: a dry run of a request. Nothing is written."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli import request_input, selection_input
from archiver.cli.console import print_json, print_line
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.estimate import Estimate, Lookups
    from archiver.core.plan import Member, Plan

MAX_MEMBERS_SHOWN = 20  # members that are printed without --all


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver plan request.json")(plan)


def plan(
    request: request_input.RequestFile = None,
    file: request_input.Files = None,
    prefix: selection_input.Prefixes = None,
    regex: selection_input.Regex = None,
    where: selection_input.Where = None,
    recursive: selection_input.Recursive = True,
    folders: selection_input.Folders = False,
    manifest: selection_input.Manifest = None,
    on_missing: request_input.OnMissing = None,
    on_duplicate: request_input.OnDuplicate = None,
    on_empty: selection_input.OnEmpty = None,
    on_archived: request_input.OnArchived = None,
    compression: request_input.Compression = None,
    strategy: request_input.Strategy = None,
    latency: Annotated[
        float, typer.Option(min=0.0, help="S3's latency in milliseconds, for the estimated time.")
    ] = 20.0,
    all_: Annotated[
        bool, typer.Option("--all", help=f"Print all members, not only the first {MAX_MEMBERS_SHOWN}.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
) -> None:
    """
    Dry run: print the names, sizes, problems, AWS calls, cost and time of a request. Nothing is written.

    The command sends a HEAD for every object, or lists its prefix, and reads none. It needs neither a queue nor a
    destination bucket.
    """
    options = {
        "on_missing": on_missing,
        "on_duplicate": on_duplicate,
        "on_empty": on_empty,
        "on_archived": on_archived,
        "compression": compression,
        "strategy": strategy,
    }
    selection = selection_input.SelectionInput(prefix or (), regex, where or (), recursive, manifest, folders)
    given = request_input.RequestInput(request, file or (), tuple(options.items()), selection=selection)
    body = request_input.build_body(given)
    result = run_async(lambda: _plan_request(body, latency / 1000, as_json=json_))
    if result is None:
        selection_input.report_skipped(as_json=json_)
    elif json_:
        print_json(result.as_data())
    else:
        result.report(None if all_ else MAX_MEMBERS_SHOWN)


@dataclass(frozen=True, slots=True)
class PlanResult:
    """
    The plan of a request and its estimated cost and time. *latency* of S3 in seconds. *copied*: the same where the
    store copies by itself what it can; None if that is not asked for, or is nothing.
    """

    plan: "Plan"
    estimate: "Estimate"
    latency: float
    copied: "Estimate | None" = None

    def as_data(self) -> dict[str, Any]:
        from archiver.cli.build_context import missing_data, renamed_data
        from archiver.core.estimate import PRICES_SOURCE

        plan, estimate = self.plan, self.estimate
        return {
            "status": plan.outcome.status,
            "archive": {"size": estimate.size, "exact": estimate.exact, "files": plan.outcome.files},
            "parts": {"count": estimate.parts, "size": estimate.part_size},
            "calls": estimate.calls,
            "cost": {"dollars": round(estimate.dollars, 9), "prices": PRICES_SOURCE},
            "time": {"seconds": round(estimate.seconds, 3), "latency": self.latency},
            "missing": missing_data(plan.outcome),
            "renamed": renamed_data(plan.outcome),
            "members": [_member_data(member) for member in plan.members],
            **({} if self.copied is None else {"copied": _copied_data(self.copied)}),
        }

    def report(self, max_members: int | None) -> None:
        """Print the plan as text, with the first *max_members* members; None: all."""
        from archiver.cli.build_context import summary_lines, truncate_lines

        for name, text in _summary_rows(self).items():
            print_line(f"{name:<8}  {text}")
        for title, lines in summary_lines(self.plan.outcome).items():
            if lines:
                print_line()
                print_line(f"{title}:")
                for text in truncate_lines(lines):
                    print_line(text)
        print_line()
        members = self.plan.members[:max_members]
        for line in member_table(members):
            print_line(line)
        if more := len(self.plan.members) - len(members):
            print_line(f"and {more:,} more (--all lists all)")


def _summary_rows(result: PlanResult) -> dict[str, str]:
    from archiver.cli.progress_bar import format_duration, format_size
    from archiver.core.estimate import PRICES_SOURCE

    estimate, summary = result.estimate, result.plan.outcome
    at_most = "" if estimate.exact else "at most "
    files = "1 file" if summary.files == 1 else f"{summary.files:,} files"
    partial = "" if summary.status == "succeeded" else ", partial: some requested files are missing"
    calls = ", ".join(f"{count:,} {name}" for name, count in estimate.calls.items())
    parts = "1 part" if estimate.parts == 1 else f"{estimate.parts:,} parts of {format_size(estimate.part_size)}"
    rows = {
        "archive": f"{files}, {at_most}{format_size(estimate.size)} ({estimate.size:,} bytes){partial}",
        "upload": f"{at_most}{parts}",
        "calls": f"{at_most}{calls}",
        "cost": f"about ${estimate.dollars:.6f} for these calls "
        f"(list prices of {PRICES_SOURCE}; they may have changed)",
        "time": f"about {format_duration(estimate.seconds)} on one core with an S3 latency of "
        f"{result.latency * 1000:g} ms; several times as long over TLS",
    }
    if (copied := result.copied) is not None:
        sent = format_size(copied.size - copied.copied)
        rows["copied"] = (
            f"{format_size(copied.copied)} stay in the store if it copies parts, {sent} "
            f"go through the worker: about ${copied.dollars:.6f}, about {format_duration(copied.seconds)}"
        )
    return rows


def _copied_data(copied: "Estimate") -> dict[str, Any]:
    return {
        "bytes_copied": copied.copied,
        "bytes_streamed": copied.size - copied.copied,
        "parts": copied.parts,
        "calls": copied.calls,
        "cost": {"dollars": round(copied.dollars, 9)},
        "time": {"seconds": round(copied.seconds, 3)},
    }


def _member_data(member: "Member") -> dict[str, Any]:
    return {
        "path": member.path,
        "size": member.size,
        "modified": member.modified.isoformat(),
        "source": _source(member),
        "deflate": member.deflate,
    }


def _source(member: "Member") -> str | None:
    """Return the location of the member's object; None if the archiver generates its content."""
    return None if isinstance(member.content, bytes) else str(member.content.location)


def member_table(members: "tuple[Member, ...]") -> list[str]:
    """Return *members* as a table with a heading: size, path, source."""
    from rich.cells import cell_len

    from archiver.cli.progress_bar import format_size

    rows = [
        (format_size(member.size), member.path, _source(member) or "(generated by the archiver)") for member in members
    ]
    size_width = max(len("size"), *(len(row[0]) for row in rows))
    path_width = max(len("path"), *(cell_len(row[1]) for row in rows))
    lines = [f"{'size':>{size_width}}  {'path':<{path_width}}  source"]
    return lines + [
        f"{size:>{size_width}}  {path}{' ' * (path_width - cell_len(path))}  {source}" for size, path, source in rows
    ]


async def _plan_request(body: str, latency: float, *, as_json: bool) -> PlanResult | None:
    from archiver.aws.s3_store import S3Store
    from archiver.cli.build_context import collect_rejections, open_resources, rejection_error, rejections_as_errors
    from archiver.cli.progress_bar import show_progress
    from archiver.core.estimate import Lookups, estimate
    from archiver.errors import Rejected
    from archiver.jobs.archive import ArchiveWork
    from archiver.stages.offload import run_offloaded_if_large
    from archiver.stages.progress import Progress

    with rejections_as_errors(as_json=as_json):
        build_request, rejections = collect_rejections(body)
        if build_request is None:
            raise rejection_error(*rejections, as_json=as_json)
        async with (
            open_resources(build_request.settings, build_request.rules) as resources,
            show_progress("plan", Progress()),
        ):
            store = S3Store(resources.clients, build_request.rules.destination_bucket)  # unused by a plan
            work = ArchiveWork(
                build_request.rules,
                fetcher=resources.fetcher,
                store=store,
                receipts=None,
                budget=resources.budget,
                roles=resources.roles,
            )
            try:
                draft = await work.select(build_request.draft)
                if draft.is_blank:
                    return None
                plan = await work.plan(draft)
            except Rejected as rejected:
                rejections.append(rejected)
            if rejections:
                raise rejection_error(*rejections, as_json=as_json)
            heads = len({file.location for file in draft.files}.difference(draft.known))
            lookups = Lookups(heads, draft.listings)
            cost_estimate = await run_offloaded_if_large(
                len(draft.files), estimate, plan, lookups, resources.budget.total, latency, one_pass=draft.needs_no_plan
            )
            copied = _estimate_copied(plan, lookups, resources.budget.total, latency)
    return PlanResult(plan, cost_estimate, latency, copied)


def _estimate_copied(plan: "Plan", lookups: "Lookups", budget: int, latency: float) -> "Estimate | None":
    from archiver.core.copies import limits_of, plan_copies
    from archiver.core.estimate import estimate
    from archiver.core.layout import BUFFERS_PER_JOB

    if plan.strategy not in ("auto", "copy") or plan.deflates:
        return None
    limits = limits_of(budget // BUFFERS_PER_JOB, frozenset(), everything=plan.strategy == "copy")
    copies = plan_copies(plan.members, limits)
    return None if copies is None else estimate(plan, lookups, budget, latency, copies=copies)
