"""
Changes to the code that a test must notice.

    promises   what the service is for
    moments    when something is measured, and which of two awaits comes first
    sharing    what is kept, passed on or given back when a task is cancelled or fails
    bounds     comparisons at their boundary, first and last
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """*old*, which stands in *file* once, becomes *new*; *tests* (files, or tests in them) must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
