"""`archiver plan`: what a request would come to. Nothing is written."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli import request_input as requests
from archiver.cli.console import say, say_json
from archiver.cli.runner import carry_out

if TYPE_CHECKING:
    from archiver.core.estimate import Estimate
    from archiver.core.plan import Member, Plan

FIRST = 20  # members that are printed unless all are wanted


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver plan request.json")(plan)


def plan(
    request: requests.RequestFile = None,
    file: requests.Files = None,
    on_missing: requests.OnMissing = None,
    on_duplicate: requests.OnDuplicate = None,
    compression: requests.Compression = None,
    latency: Annotated[float, typer.Option(min=0.0, help="Milliseconds until S3 answers, for the time.")] = 20.0,
    all_: Annotated[bool, typer.Option("--all", help=f"Print every member, not only the first {FIRST}.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the whole plan as JSON.")] = False,
) -> None:
    """
    Tell what a request would come to: names, sizes, problems, calls of AWS, cost and time. Nothing is written.

    Every object is asked for (HEAD), none is read. Neither a queue nor a destination bucket is needed.
    """
    options = {"on_missing": on_missing, "on_duplicate": on_duplicate, "compression": compression}
    body = requests.body_of(requests.Asked(request, file or (), tuple(options.items())))
    planned = carry_out(lambda: _planned(body, latency / 1000, as_json=json_))
    if json_:
        say_json(planned.as_data())
    else:
        planned.tell(None if all_ else FIRST)


@dataclass(frozen=True, slots=True)
class Planned:
    """What would happen. *latency* in seconds."""

    plan: "Plan"
    estimate: "Estimate"
    latency: float

    def as_data(self) -> dict[str, Any]:
        from archiver.cli.build_context import left_out, renames
        from archiver.core.estimate import PRICES_OF

        plan, estimate = self.plan, self.estimate
        return {
            "status": plan.outcome.status,
            "archive": {"size": estimate.size, "exact": estimate.exact, "files": plan.outcome.files},
            "parts": {"count": estimate.parts, "size": estimate.part_size},
            "calls": estimate.calls,
            "cost": {"dollars": round(estimate.dollars, 9), "prices": PRICES_OF},
            "time": {"seconds": round(estimate.seconds, 3), "latency": self.latency},
            "missing": left_out(plan.outcome),
            "renamed": renames(plan.outcome),
            "members": [_as_data(member) for member in plan.members],
        }

    def tell(self, most: int | None) -> None:
        """The plan for people, with *most* of the members, or with all."""
        from archiver.cli.build_context import about, cut

        for name, text in _facts(self).items():
            say(f"{name:<8}  {text}")
        for title, lines in about(self.plan.outcome).items():
            if lines:
                say()
                say(f"{title}:")
                for text in cut(lines):
                    say(text)
        say()
        members = self.plan.members[:most]
        for line in aligned(members):
            say(line)
        if more := len(self.plan.members) - len(members):
            say(f"and {more:,} more: --all shows them")


def _facts(planned: Planned) -> dict[str, str]:
    from archiver.cli.progress_bar import lasting, size
    from archiver.core.estimate import PRICES_OF

    estimate, outcome = planned.estimate, planned.plan.outcome
    most = "" if estimate.exact else "at most "
    files = "1 file" if outcome.files == 1 else f"{outcome.files:,} files"
    partial = "" if outcome.status == "succeeded" else ", partial: not all that was asked for"
    calls = ", ".join(f"{count:,} {name}" for name, count in estimate.calls.items())
    parts = "1 part" if estimate.parts == 1 else f"{estimate.parts:,} parts of {size(estimate.part_size)}"
    return {
        "archive": f"{files}, {most}{size(estimate.size)} ({estimate.size:,} bytes){partial}",
        "upload": f"{most}{parts}",
        "calls": f"{most}{calls}",
        "cost": f"about ${estimate.dollars:.6f} for these calls (list prices of {PRICES_OF}; they may have changed)",
        "time": f"about {lasting(estimate.seconds)} on one core, with {planned.latency * 1000:g} ms "
        "until S3 answers; several times as long over TLS",
    }


def _as_data(member: "Member") -> dict[str, Any]:
    return {
        "path": member.path,
        "size": member.size,
        "modified": member.modified.isoformat(),
        "source": _source(member),
        "deflate": member.deflate,
    }


def _source(member: "Member") -> str | None:
    """None: the archiver writes it itself."""
    return None if isinstance(member.content, bytes) else str(member.content.location)


def aligned(members: "tuple[Member, ...]") -> list[str]:
    """A line for each of *members* under a heading: size, path and source, each in its column."""
    from rich.cells import cell_len

    from archiver.cli.progress_bar import size

    rows = [(size(member.size), member.path, _source(member) or "(written by the archiver)") for member in members]
    sizes = max(len("size"), *(len(row[0]) for row in rows))
    paths = max(len("path"), *(cell_len(row[1]) for row in rows))
    lines = [f"{'size':>{sizes}}  {'path':<{paths}}  source"]
    return lines + [f"{told:>{sizes}}  {path}{' ' * (paths - cell_len(path))}  {source}" for told, path, source in rows]


async def _planned(body: str, latency: float, *, as_json: bool) -> Planned:
    from archiver.aws.s3 import S3Store
    from archiver.cli.build_context import looked_over, means_of, refusals_told, refused
    from archiver.cli.progress_bar import shown
    from archiver.core.estimate import estimate
    from archiver.errors import Rejected
    from archiver.jobs.archive import Builder, decided
    from archiver.stages.progress import Progress

    with refusals_told(as_json=as_json):
        order, refusals = looked_over(body)
        if order is None:
            raise refused(*refusals, as_json=as_json)
        async with means_of(order.settings) as means, shown("plan", Progress()):
            store = S3Store(means.clients, order.rules.destination_bucket)  # which a plan does not come to
            builder = Builder(order.rules, fetcher=means.fetcher, store=store, budget=means.budget)
            try:
                plan = await builder.plan(order.draft)
            except Rejected as rejected:
                refusals.append(rejected)
            if refusals:
                raise refused(*refusals, as_json=as_json)
            objects = len({file.location for file in order.draft.files})
            taken = await decided(objects, estimate, plan, objects, means.budget.total, latency)
    return Planned(plan, taken, latency)
