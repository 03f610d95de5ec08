"""
Code changes that tests must detect.

    promises   the guarantees of the service
    moments    times of measurements, and the order of two awaits
    tls        what TLS in memory must not lose, and must not keep
    sharing    resources kept, passed on or released when a task is cancelled or fails
    bounds     comparisons at their boundary, first and last elements
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """Replace *old*, which *file* contains exactly once, by *new*. Then *tests* (files, or tests in them) must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
