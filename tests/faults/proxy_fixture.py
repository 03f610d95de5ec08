"""The fixture for the tests of the proxy."""

from dataclasses import dataclass
from typing import Any

from .emulator import Clients
from .history import Exchange
from .proxy import FaultProxy
from .rules import Action, Rule

BODY = bytes(range(256)) * 1024


@dataclass(frozen=True)
class ProxyHarness:
    """A proxy with one client (*through*), a client that bypasses it (*direct*), and one object and one queue."""

    proxy: FaultProxy
    through: Clients
    direct: Clients
    bucket: str
    queue: str

    def add(self, action: Action, op: str, **where: Any) -> Rule:
        return self.proxy.add(Rule(action, op=op, **where))

    def get(self, **how: Any) -> bytes:
        body: bytes = self.through.s3.get_object(Bucket=self.bucket, Key="a/b.jpg", **how)["Body"].read()
        return body

    def last(self, op: str) -> Exchange:
        return self.proxy.history.select(op)[-1]
