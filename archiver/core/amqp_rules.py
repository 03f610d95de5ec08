"""The rules between the settings of the RabbitMQ door."""

import re
from collections.abc import Mapping
from ipaddress import ip_address

SUBMIT, RESPONSE, DELAYED = "job_submit", "job_response", "job_delayed"
COMPLETED, ERROR, PROGRESSION = "job_completed", "job_error", "job_progression"
"""Exchanges, and routing keys of replies: the names of the Media Cloud AI SDK."""

DISCOVERY = "worker_discovery"
"""Queue that workers describe themselves in."""

OWN_QUEUES = (DELAYED, COMPLETED, ERROR, PROGRESSION, DISCOVERY)
_QUEUES_OF_SQS = ("SQS_DESTINATION_QUEUE", "SQS_DESTINATION", "SQS_FAILURE_QUEUE", "PROGRESS_QUEUE")
_TLS_FILES = ("AMQP_CA_FILE", "AMQP_CERT_FILE", "AMQP_KEY_FILE")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[^\s.:/@?#%\\\[\]]{1,63}(\.[^\s.:/@?#%\\\[\]]{1,63})*\.?")
_FALSE_TEXTS = ("0", "false", "no", "off", "f", "n")


def is_host(text: str) -> bool:
    """Whether *text* can be the name or the address of a host, and has no port or anything else with it."""
    try:
        ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def amqp_source_id(vhost: str, queue: str) -> str:
    """Return the id of a queue as a source of messages, which is in the keys of archives: the host may change."""
    return f"amqp:{vhost}/{queue}"


def find_amqp_problems(environ: Mapping[str, str]) -> list[str]:
    """Return one line for each setting of the RabbitMQ door that contradicts another one."""
    given = {name: text.strip() for name, text in environ.items() if text.strip()}
    return [*_tls_problems(given), *_queue_problems(given)]


def _tls_problems(given: Mapping[str, str]) -> list[str]:
    problems = []
    if given.get("AMQP_TLS", "").lower() in _FALSE_TEXTS:
        problems = [
            f"{name}: has an effect only by TLS: set AMQP_TLS=1, or unset this" for name in _TLS_FILES if name in given
        ]
    if "AMQP_KEY_FILE" in given and "AMQP_CERT_FILE" not in given:
        problems.append("AMQP_KEY_FILE: is the key of AMQP_CERT_FILE, which is not set")
    return problems


def _queue_problems(given: Mapping[str, str]) -> list[str]:
    queue = given.get("AMQP_QUEUE")
    if queue is None:
        return []
    problems = [
        f"{name}: is a queue of SQS, and AMQP_QUEUE is set: replies go to the exchange {RESPONSE}: unset this"
        for name in _QUEUES_OF_SQS
        if name in given
    ]
    if queue in OWN_QUEUES or queue.startswith("amq."):
        problems.append(f"AMQP_QUEUE: {queue} has another use: name a queue of requests")
    dead = given.get("AMQP_DEAD_LETTER_QUEUE")
    if dead is not None and (dead == queue or dead in OWN_QUEUES or dead.startswith("amq.")):
        problems.append(f"AMQP_DEAD_LETTER_QUEUE: {dead} has another use: name a queue for rejected messages alone")
    return problems
