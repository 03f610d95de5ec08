"""What reads tell that HEAD did not, and whether planning an archive again is of any use."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from archiver.core.draft import Draft
from archiver.core.plan import ObjectVersion, Plan
from archiver.errors import Rejected, SourceChanged, SourceProblem, SourceUnavailable

MAX_PLANS = 4  # times that objects which keep changing are planned anew, the first one included
MAX_REFUSED_READS = 8  # builds that may end with a read that is refused, though all others were asked after each

_ETAG_REWRITTEN = (
    "the store gave this ETag twice, and would not read it either time: something between the archiver and the store "
    "(a proxy that compresses, a CDN) rewrites ETags; have it leave them alone, or name the store itself in "
    "AWS_ENDPOINT_URL_S3"
)


@dataclass(slots=True)
class ReplanState:
    """
    One job's history. *verdicts*: the objects that may not be read, by location; the next plan has them as such, and
    they are not asked for again.
    """

    draft: Draft
    verdicts: dict[object, SourceUnavailable] = field(default_factory=dict)
    _changes: dict[object, str] = field(default_factory=dict)
    _refused: Counter[ObjectVersion] = field(default_factory=Counter)
    _plans: int = 0
    _refusals: int = 0

    @property
    def over(self) -> bool:
        """Nothing but other people's archives and changes stood in the way, and often enough."""
        return self._plans >= MAX_PLANS

    def record_superseded(self) -> None:
        """The archive's key was taken; what stands there is looked at first."""
        self._plans += 1

    def refused(self, verdicts: Mapping[object, SourceUnavailable]) -> None:
        """
        A read was refused; *verdicts* are that object's and those of all others that may not be read. Raises Rejected
        where reads are refused again and again that were allowed when all were asked.
        """
        self.verdicts.update(verdicts)
        self._refusals += 1
        if self._refusals == MAX_REFUSED_READS:
            problems = tuple(
                SourceProblem(file.source, verdict.code, verdict.detail)
                for file in self.draft.files
                if (verdict := self.verdicts.get(file.location)) is not None
            )
            reads = f"{MAX_REFUSED_READS} reads were refused one after the other"
            told = f"{reads}, of objects that could be read a moment before"
            raise Rejected(problems[0].code, told, problems)

    def changed(self, error: SourceChanged, plan: Plan) -> None:
        """
        An object of *plan* was not the planned one when it was read. Raises Rejected where objects keep changing,
        and where it did not change at all.
        """
        self._plans += 1
        self._changes[error.location] = error.detail
        pinned = version_at(plan, error.location)
        if pinned is not None:
            self._refused[pinned] += 1
            if self._refused[pinned] > 1 and error.gone:
                detail = f"HEAD finds the object, GET does not: {error.detail}"
                self.verdicts[error.location] = SourceUnavailable("source_missing", detail)
                self._plans -= 1
                return
            if self._refused[pinned] > 1:
                raise self._rejected(f"{error} to the ETag {pinned.etag}: {_ETAG_REWRITTEN}")
        if self.over:
            others = len(self._changes) - 1
            told = f", and {others} other objects before it" if others else ""
            raise self._rejected(f"{error.location} changed each time that it was read{told}: {error.detail}")

    def _rejected(self, message: str) -> Rejected:
        problems = {
            file.source: SourceProblem(file.source, "source_changed", self._changes[file.location])
            for file in self.draft.files
            if file.location in self._changes
        }
        return Rejected("source_changed", message, tuple(problems.values()))


def version_at(plan: Plan, location: object) -> ObjectVersion | None:
    """The version of the object at *location* that *plan* holds reads to."""
    contents = (member.content for member in plan.members)
    return next((one for one in contents if isinstance(one, ObjectVersion) and one.location == location), None)


def versions_read(plan: Plan) -> list[ObjectVersion]:
    """The objects that *plan* has bytes of, each once."""
    return list(
        dict.fromkeys(
            member.content for member in plan.members if isinstance(member.content, ObjectVersion) and member.size
        )
    )
