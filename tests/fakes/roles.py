"""Roles in memory: some can be assumed, others can't."""

from archiver.errors import SourceUnavailable
from fakes.faults import Faults


class FakeRoles:
    """A Roles. Those in `refused` can't be assumed; `assumed` has those that were, in order."""

    def __init__(self, *refused: str) -> None:
        self.faults = Faults()
        self.refused = set(refused)
        self.assumed: list[str] = []

    async def assume(self, role: str) -> None:
        async with self.faults("assume"):
            if role in self.refused:
                raise SourceUnavailable("source_denied", f"the role {role} can't be assumed")
            self.assumed.append(role)
