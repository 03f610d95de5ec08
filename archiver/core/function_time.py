"""How long a job takes in a Lambda function, whose share of a core, and of the network, is that of its memory."""

from archiver.core.estimate import Estimate

MIB_PER_CORE = 1769
"""Memory with which a function has one core ("Configure Lambda function memory")."""

BYTES_PER_SECOND = 30e6
"""
Received and sent again at once. Functions were seen to have about 75 MB/s for both directions together, whatever their
memory; no page of AWS's promises it, so the estimate is careful.
"""


def seconds_in_function(estimate: Estimate, memory_mib: int) -> float:
    """Return the seconds of the job of *estimate* in a function with *memory_mib* MiB."""
    share = min(1.0, max(memory_mib, 128) / MIB_PER_CORE)
    return max(estimate.seconds / share, estimate.size / BYTES_PER_SECOND)
