"""
RabbitMQ (AMQP 0-9-1): the only package that names its client.

    decoding     properties that can't be decoded must not end the connection
    faults       errors of the client and of the broker, mapped to archiver.errors
    connection   one connection, opened anew after a loss; channels
    topology     exchanges and queues
    delivery     what the broker delivers, as a Message
    source       the MessageSource
    publishing   publishing with confirms: the Notifier and the DeadLetters
    preflight    the checks of `archiver check`
"""
