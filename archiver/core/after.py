"""
What is done with each archived object, and which of it the operator allows.

Only what is in the archive's receipt is touched, each object once, at the version that is in the archive. Memory of
`Steps`: 100 bytes for each member.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from archiver.core.changes import Original, Outcome
from archiver.core.draft import Draft
from archiver.core.locations import MAX_KEY_BYTES, AllowList, Location, parse_prefix, parse_source
from archiver.core.messages import Request
from archiver.core.outline import Named
from archiver.core.patterns import Effort, PatternError, Substitution
from archiver.core.problems import join_problems
from archiver.core.receipt_parser import ReceiptMember
from archiver.errors import Rejected, SourceProblem

Action = Literal["delete", "move", "rename"]
KeptCode = Outcome | Literal["option_not_allowed"]

NOWHERE = AllowList("", {})


@dataclass(frozen=True, slots=True)
class MoveRule:
    """What may be moved from *origins* to *targets*."""

    origins: AllowList
    targets: AllowList


@dataclass(frozen=True, slots=True)
class AfterRules:
    """What requests may ask for: where objects may be deleted, moved, and where flags may be."""

    delete: AllowList = NOWHERE
    move: Sequence[MoveRule] = ()
    flags: AllowList = NOWHERE

    @property
    def allows_any(self) -> bool:
        """Whether anything is allowed."""
        return bool(self.delete.prefixes or self.move or self.flags.prefixes)

    def allow(self, origin: Location, target: Location | None) -> bool:
        """Return whether *origin* may be moved to *target*; None: deleted. Either may be a prefix."""
        if target is None:
            return self.delete.allows(origin)
        return any(rule.origins.allows(origin) and rule.targets.allows(target) for rule in self.move)


NO_AFTER_RULES = AfterRules()


@dataclass(frozen=True, slots=True)
class AfterOrder:
    """*action* None: only the *flag* is asked for. *destination*: a prefix."""

    rules: AfterRules
    action: Action | None
    destination: Location | None = None
    substitution: Substitution | None = None
    flag: Location | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that is as it was, and why."""

    source: str
    code: KeptCode


@dataclass(frozen=True, slots=True)
class AfterResult:
    """
    What was done: *done* counts objects, *kept* lists the others. *problem*: why none was even tried. *flag*: the URI
    of the flag; None if none was asked for, or not all was done.
    """

    action: Action | None
    done: int = 0
    kept: Sequence[Kept] = ()
    problem: Literal["archive_unverified", "receipt_missing"] | None = None
    flag: str | None = None


def order_after(request: Request, draft: Draft, rules: AfterRules | None) -> AfterOrder | None:
    """
    Return what *request*, with the *draft* of its archive, asks for; None: nothing. *rules*: the operator's.

    Raises Rejected: `invalid_request`; `option_not_allowed`, if *rules* do not allow it for all that the request names.
    What a manifest names is checked object by object.
    """
    after = request.after if request.after and request.after.asks_for_something else None
    if after is None and request.flag is None:
        return None
    rules = rules or NO_AFTER_RULES
    flag = None if request.flag is None else _flag(request.flag, rules)
    if after is None:
        return AfterOrder(rules, None, flag=flag)
    destination = None if after.destination is None else _destination(after.destination)
    substitution = None
    if after.pattern is not None and after.sub is not None:
        try:
            substitution = Substitution(after.pattern, after.sub)
        except PatternError as error:
            raise Rejected("invalid_request", f"$.after.pattern {error}") from None
    order = AfterOrder(rules, cast("Action", after.action), destination, substitution, flag)
    _check_sources(order, draft)
    return order


def _flag(uri: str, rules: AfterRules) -> Location:
    flag = _uri("$.flag", uri)
    if flag.key.endswith("/"):
        raise Rejected("invalid_request", "$.flag ends in /: write the key of an object")
    if not rules.flags.allows(flag):
        raise Rejected(
            "option_not_allowed", f"$.flag {uri[:200]} is outside flags of [after] in the worker's POLICY_FILE"
        )
    return flag


def _destination(uri: str) -> Location:
    if not uri.endswith("/"):
        raise Rejected(
            "invalid_request", "$.after.destination should end in /: it is a folder, such as s3://bucket/done/"
        )
    return _uri("$.after.destination", uri, folder=True)


def _uri(field: str, uri: str, *, folder: bool = False) -> Location:
    if not uri.lower().startswith("s3://"):
        raise Rejected("invalid_request", f"{field} should be an S3 URI: s3://bucket/key")
    try:
        return parse_prefix(uri, None) if folder else parse_source(uri, None)
    except Rejected as rejected:
        raise Rejected(rejected.code, f"{field} {rejected.message}") from None


def _check_sources(order: AfterOrder, draft: Draft) -> None:
    target = order.destination
    if order.action != "delete" and not any(rule.targets.allows(cast("Location", target)) for rule in order.rules.move):
        text = f"$.after.destination {str(target)[:200]} is no target of move in [after] of the worker's POLICY_FILE"
        raise Rejected("option_not_allowed", text)
    outside = [source for source, location in _named(draft) if not order.rules.allow(location, target)]
    if outside:
        listed = "delete" if target is None else "move"
        problems = [
            f"$.after.action {order.action} is not allowed for {source[:200]}: {listed} of [after] in the worker's "
            "POLICY_FILE does not cover it"
            for source in outside
        ]
        sources = [SourceProblem(source, "option_not_allowed") for source in outside]
        raise Rejected("option_not_allowed", join_problems(problems, len(problems)), sources)


def _named(draft: Draft) -> Iterator[tuple[str, Location]]:
    """Yield what the request names: objects and prefixes, with their sources. Inline text has no bucket."""
    outline = draft.pending.outline if draft.pending else None
    if outline is None:
        yield from ((file.source, file.location) for file in draft.files if file.location.bucket)
        return
    for entry in outline.entries:
        location = entry.location if isinstance(entry, Named) else entry.prefix.location
        if location.bucket:
            yield entry.source, location


@dataclass(frozen=True, slots=True)
class Step:
    """One object to delete, or to move to *target*."""

    original: Original
    target: Location | None


class Steps:
    """Decides about each member of one receipt. For moves, all members have to be noted first."""

    def __init__(self, order: AfterOrder) -> None:
        self._order = order
        self._origins: set[int] = set()  # hashes: two that are equal by chance keep an object
        self._begun: set[int] = set()
        self._targets: set[int] = set()
        self._effort = Effort()

    def note(self, member: ReceiptMember) -> None:
        """Take a member into account: no object is moved to where an archived one is."""
        location = _origin(member)
        if location is not None:
            self._origins.add(hash(location))

    def step(self, member: ReceiptMember) -> Step | Kept | None:
        """Return what is to be done; None: nothing, as the member is no object, or an earlier one was the same."""
        location = _origin(member)
        if location is None or hash(location) in self._begun:
            return None
        self._begun.add(hash(location))
        original = Original(location, member.etag or "", member.size, member.crc32)
        if self._order.destination is None:
            allowed = self._order.rules.allow(location, None)
            return Step(original, None) if allowed else Kept(str(location), "option_not_allowed")
        target = self._target(location)
        if target is None:
            return Kept(str(location), "not_copied")
        if not self._order.rules.allow(location, target):
            return Kept(str(location), "option_not_allowed")
        if hash(target) in self._origins or hash(target) in self._targets:
            return Kept(str(location), "name_conflict")
        self._targets.add(hash(target))
        return Step(original, target)

    def _target(self, location: Location) -> Location | None:
        destination, name = cast("Location", self._order.destination), location.key.rpartition("/")[2]
        if self._order.substitution is not None:
            try:
                name = self._order.substitution.apply(name, self._effort)
            except (PatternError, Rejected):  # the archive is there: what can't be renamed in time is kept
                return None
        key = f"{destination.key}{name}"
        if not name or len(key.encode()) > MAX_KEY_BYTES:
            return None
        return Location(destination.bucket, key)


def _origin(member: ReceiptMember) -> Location | None:
    return None if member.source is None or member.etag is None else parse_source(member.source, None)
