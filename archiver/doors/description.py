"""What a worker tells of itself, from its settings."""

import socket
from typing import Any

from archiver import __version__
from archiver.core.description import describe_worker
from archiver.doors.policy import read_policy
from archiver.settings import Environment


def description_of(settings: Environment) -> dict[str, Any]:
    """Return the description of a worker with *settings* on this host. Raises SettingsError."""
    policy = read_policy(settings)
    commands = policy.commands.values() if policy else ()
    return describe_worker(socket.gethostname(), settings.amqp_queue or settings.source_queue, __version__, commands)
