"""What befalls the bytes of a body on their way: cut, held up, slowed down, chopped, falsified."""

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
    """The body ends after *after* bytes, and the connection is closed as if that were all."""

    after_bytes: int

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        raise CutError(reset=False)


@dataclass
class CloseWithoutNotify(Action):
    """After *after* bytes of the body the connection ends below TLS: a FIN that no close_notify came before."""

    after_bytes: int

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        raise CutError(torn=True)


@dataclass
class Reset(Action):
    """The connection is reset after *after* bytes of the body."""

    after_bytes: int

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        raise CutError(reset=True)


@dataclass
class StallBody(Action):
    """After *after* bytes nothing comes any more, for *seconds*; then the connection is reset."""

    after_bytes: int
    seconds: float = 3600

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in _until(source, self.after_bytes):
            yield block
        await asyncio.sleep(self.seconds)
        raise CutError(reset=True)


@dataclass
class Slice(Action):
    """The body comes *size* bytes at a time, with a *pause* (seconds) after each."""

    size: int
    pause: float

    async def response_body(self, source: Blocks) -> Blocks:
        async for block in source:
            for start in range(0, len(block), self.size):
                yield block[start : start + self.size]
                await asyncio.sleep(self.pause)


@dataclass
class Bandwidth(Action):
    """Bodies pass at *rate* bytes a second: those of answers, or of requests where *upward*."""

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
    """One bit of the byte at *offset* is turned; the length stays."""

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
