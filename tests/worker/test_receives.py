"""Messages that came once more after their last receive, from sources that do not take them away themselves."""

from datetime import UTC, datetime

import pytest

from archiver.errors import Rejected
from archiver.ports import Message, QueueFacts
from archiver.worker.classify import check_receives


def message(receives: int) -> Message:
    return Message("m-1", "{}", "receipt", 0.0, receives, datetime(2026, 3, 1, tzinfo=UTC))


def test_a_message_beyond_its_last_receive_is_rejected_unbegun() -> None:
    facts = QueueFacts("amqp:/jobs", 30, 1740, 5, redrives=False)
    check_receives(message(5), facts)
    with pytest.raises(Rejected, match="retries_exhausted: received 5 times"):
        check_receives(message(6), facts)


@pytest.mark.parametrize("facts", [QueueFacts("sqs", 30, 43_200, 5), QueueFacts("q", 30, 1740, None, redrives=False)])
def test_a_source_with_a_redrive_policy_or_without_a_limit_leaves_nothing_to_reject(facts: QueueFacts) -> None:
    """The policy of a queue may have been changed since the worker has read it."""
    check_receives(message(99), facts)
