"""Faults of bodies: truncated, stalled, slowed down, sent in small pieces, corrupted."""

import asyncio
from dataclasses import dataclass

from .http_streams import Blocks
from .rules import Action, CutError


async def _until(source: Blocks, count: int) -> Blocks:
    async for block in source:
        piece = block[:count]
        count -= len(piece)
        if piece:
            yield piece
        if count == 0:
            return


@dataclass
class Truncate(Action):
    """Close the connection normally after *after_bytes* bytes of the body."""

    after_bytes: int

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        raise CutError(reset=False)


@dataclass
class CloseWithoutNotify(Action):
    """After *after_bytes* bytes of the body, close the TCP connection (FIN) without a TLS close_notify."""

    after_bytes: int

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        raise CutError(torn=True)


@dataclass
class Reset(Action):
    """Reset the connection after *after_bytes* bytes of the body."""

    after_bytes: int

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        raise CutError(reset=True)


@dataclass
class StallBody(Action):
    """Send nothing for *seconds* after *after_bytes* bytes of the body, then reset the connection."""

    after_bytes: int
    seconds: float = 3600

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        await asyncio.sleep(self.seconds)
        raise CutError(reset=True)


@dataclass
class Slice(Action):
    """Send the body *size* bytes at a time, with a *pause* (seconds) after each piece."""

    size: int
    pause: float

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in source:
            for start in range(0, len(block), self.size):
                yield block[start : start + self.size]
                await asyncio.sleep(self.pause)


@dataclass
class Bandwidth(Action):
    """Limit bodies to *rate* bytes per second: of responses, or of requests if *upward*."""

    rate: int
    upward: bool = False

    def request_body(self, source: Blocks) -> Blocks:
        return self._slowed(source) if self.upward else source

    def response_body(self, source: Blocks) -> Blocks:
        return source if self.upward else self._slowed(source)

    async def _slowed(self, source: Blocks) -> Blocks:
        async for block in source:
            yield block
            await asyncio.sleep(len(block) / self.rate)


@dataclass
class Corrupt(Action):
    """Invert one bit of the byte at *offset*; the length is unchanged."""

    offset: int

    async def response_body(self, source: Blocks) -> Blocks:
        at = 0
        async for block in source:
            inside = self.offset - at
            at += len(block)
            if 0 <= inside < len(block):
                changed = bytearray(block)
                changed[inside] ^= 1
                yield bytes(changed)
            else:
                yield block
