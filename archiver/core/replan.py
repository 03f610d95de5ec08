"""Decide whether to replan an archive after a read contradicts its HEAD."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archiver.core.draft import Draft
from archiver.core.plan import Member, ObjectVersion, Plan
from archiver.errors import Rejected, SourceChanged, SourceProblem, SourceUnavailable

MAX_PLANS = 4  # plans of one job while objects keep changing, the first one included
MAX_REFUSED_READS = 8  # builds that end with a refused read, although all objects are probed after each

_ETAG_REWRITTEN = (
    "the store returned this ETag twice and refused to read it both times: something between the archiver and the "
    "store (a compressing proxy, a CDN) rewrites ETags; turn that off, or set AWS_ENDPOINT_URL_S3 to the store itself"
)


@dataclass(slots=True)
class ReplanState:
    """
    The history of one job. *verdicts*: the unreadable objects, by location. The next plan treats them as unreadable,
    without a further request. *pins*: their versions, of those whose bytes were refused.
    """

    draft: Draft
    verdicts: dict[object, SourceUnavailable] = field(default_factory=dict)
    pins: dict[object, ObjectVersion] = field(default_factory=dict)
    _changes: dict[object, str] = field(default_factory=dict)
    _refused: Counter[ObjectVersion] = field(default_factory=Counter)
    _plans: int = 0
    _refusals: int = 0

    @property
    def over(self) -> bool:
        """Whether `MAX_PLANS` is reached: each plan failed because of a changed object or an archive of another job."""
        return self._plans >= MAX_PLANS

    def record_superseded(self) -> None:
        """Record that the archive's key already existed. The caller checks that object before the next plan."""
        self._plans += 1

    def refused(self, verdicts: Mapping[ObjectVersion, SourceUnavailable]) -> None:
        """
        Record a refused read. *verdicts*: the reasons for this object and for all others that probing found unreadable.

        Raises Rejected after `MAX_REFUSED_READS` refused reads of objects that the probe before had found readable.
        """
        for pinned, refusal in verdicts.items():
            self.verdicts[pinned.location], self.pins[pinned.location] = refusal, pinned
        self._refusals += 1
        if self._refusals == MAX_REFUSED_READS:
            problems = tuple(
                SourceProblem(file.source, verdict.code, verdict.detail)
                for file in self.draft.files
                if (verdict := self.verdicts.get(file.location)) is not None
            )
            message = f"{MAX_REFUSED_READS} reads in a row were refused, of objects that were readable just before"
            raise Rejected(problems[0].code, message, problems)

    def changed(self, error: SourceChanged, plan: Plan) -> None:
        """
        Record that an object of *plan* was not the planned version when it was read.

        Raises Rejected if objects keep changing, or if the store refuses the same version again.
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
            before = f", and {others} other objects before it" if others else ""
            raise self._rejected(f"{error.location} changed each time that it was read{before}: {error.detail}")

    def _rejected(self, message: str) -> Rejected:
        problems = {
            file.source: SourceProblem(file.source, "source_changed", self._changes[file.location])
            for file in self.draft.files
            if file.location in self._changes
        }
        return Rejected("source_changed", message, tuple(problems.values()))


def version_at(plan: Plan, location: object) -> ObjectVersion | None:
    """Return the version of the object at *location* in *plan*; None if there is none."""
    contents = (member.content for member in plan.members)
    return next((one for one in contents if isinstance(one, ObjectVersion) and one.location == location), None)


def versions_read(members: Sequence[Member]) -> list[ObjectVersion]:
    """Return the object versions of which bytes are read for *members*, each once."""
    return list(
        dict.fromkeys(member.content for member in members if isinstance(member.content, ObjectVersion) and member.size)
    )
