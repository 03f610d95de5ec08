"""The requester's side: a request is published to the exchange that leads to the worker's queue."""

from secrets import token_hex

from archiver.amqp.connection import Address, Connection
from archiver.amqp.publishing import Publisher, Route, make_properties
from archiver.core.amqp_rules import SUBMIT


async def publish_request(address: Address, queue: str, body: str) -> str:
    """
    Publish *body* for *queue* and return the message's id, once the broker has it in that queue.

    Raises ConfigurationError (no such queue or exchange, refused), TransientError.
    """
    message_id = token_hex(16)
    connection = Connection(address, "send")
    try:
        await Publisher(connection).publish(Route(SUBMIT, queue), body.encode(), make_properties(message_id, {}))
    finally:
        await connection.close()
    return message_id
