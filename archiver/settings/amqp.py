"""The settings of the RabbitMQ door."""

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings

from archiver.core.setting_types import ShortText, Text


class AmqpSettings(BaseSettings):
    """Which RabbitMQ queue is read, and how its broker is reached."""

    amqp_queue: ShortText | None = Field(
        None,
        validation_alias="AMQP_QUEUE",
        description="RabbitMQ queue to read instead of an SQS queue (a name of at most 255 bytes)",
    )
    amqp_hostname: Text = Field("127.0.0.1", validation_alias="AMQP_HOSTNAME", description="host of the broker")
    amqp_port: int | None = Field(
        None, ge=1, le=65_535, validation_alias="AMQP_PORT", description="its port; unset: 5671 with TLS, 5672 without"
    )
    amqp_username: ShortText = Field(
        "guest", validation_alias="AMQP_USERNAME", description="user of the broker (`guest` works on its own host only)"
    )
    amqp_password: SecretStr = Field(
        SecretStr("guest"), validation_alias="AMQP_PASSWORD", description="password of that user"
    )
    amqp_vhost: ShortText = Field(
        "/",
        validation_alias=AliasChoices("AMQP_VHOST", "AMQP_VIRTUAL_HOST"),
        description="virtual host that the queues are in",
    )
    amqp_tls: bool | None = Field(
        None, validation_alias="AMQP_TLS", description="connect by TLS; unset: yes, except to this host itself"
    )
    amqp_ca_file: Text | None = Field(
        None,
        validation_alias="AMQP_CA_FILE",
        description="PEM file of the CA that signed the broker's certificate; unset: the system's CAs",
    )
    amqp_cert_file: Text | None = Field(
        None, validation_alias="AMQP_CERT_FILE", description="PEM file of the client's certificate"
    )
    amqp_key_file: Text | None = Field(
        None, validation_alias="AMQP_KEY_FILE", description="PEM file of its key; unset: in AMQP_CERT_FILE"
    )
    amqp_ack_timeout: int = Field(
        1800,
        ge=4,
        le=604_800,
        validation_alias="AMQP_ACK_TIMEOUT",
        description="the broker's `consumer_timeout` in seconds: jobs end before it",
    )
    amqp_max_receives: int = Field(
        5, ge=1, le=1000, validation_alias="AMQP_MAX_RECEIVES", description="receives of one message, at most"
    )
    amqp_dead_letter_queue: ShortText | None = Field(
        None,
        validation_alias="AMQP_DEAD_LETTER_QUEUE",
        description="queue for rejected messages; unset: the reply is their record",
    )
    amqp_declare: bool = Field(
        True,
        validation_alias="AMQP_DECLARE",
        description="declare exchanges and queues; 0: they exist, with whatever arguments",
    )

    @property
    def amqp_by_tls(self) -> bool:
        """Whether the connection is one by TLS."""
        if self.amqp_tls is not None:
            return self.amqp_tls
        host = self.amqp_hostname.strip("[]").lower()
        return not (host in ("localhost", "::1") or host.startswith("127."))
