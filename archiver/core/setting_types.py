"""The types of settings: what each accepts, and how an error message describes it."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr, StringConstraints

from archiver.core.attributes import EXPIRY_TAG, MAX_TAGS, parse_tags
from archiver.core.dsn import parse_dsn
from archiver.core.locations import is_bucket_name
from archiver.core.setting_errors import Expected
from archiver.core.webhooks import decode_secret, parse_url

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _validate_short(text: str) -> str:
    if len(text.encode()) > MAX_SHORT_BYTES:
        raise ValueError("too long")
    return text


MAX_SHORT_BYTES = 255  # of names in AMQP
ShortText = Annotated[Text, AfterValidator(_validate_short), Expected(f"at most {MAX_SHORT_BYTES} bytes")]
FilePrefix = Annotated[
    Text,
    StringConstraints(pattern=r"^[^/\\\x00-\x1f\x7f]*[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]*$", max_length=128),
    Expected("the beginning of a file name: at most 128 characters, no / or \\, no control characters, not dots alone"),
]
BaseUrl = Annotated[
    Text,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s]+$"),
    Expected("a URL without spaces, like https://d111.cloudfront.net"),
]


def _validate_bucket_name(name: str) -> str:
    if not is_bucket_name(name):
        raise ValueError("no bucket")
    return name


BucketName = Annotated[
    Text,
    AfterValidator(_validate_bucket_name),
    Expected(
        "a bucket's name alone (3 to 63 letters, digits, dots and hyphens, without s3:// and without a key) "
        "or the ARN of an access point"
    ),
]
RestoreTiers = Annotated[
    Text,
    StringConstraints(pattern=r"^(Standard|Bulk|Expedited)( *, *(Standard|Bulk|Expedited))*$"),
    Expected("Standard, Bulk or Expedited, or several of them, comma-separated"),
]


def _validate_tags(text: str) -> str:
    parse_tags(text)
    return text


Tags = Annotated[
    Text,
    AfterValidator(_validate_tags),
    Expected(
        f"key=value, comma-separated: at most {MAX_TAGS} keys, of letters, digits, spaces "
        f"and + - = . _ : / @, not {EXPIRY_TAG}"
    ),
]
Account = Annotated[Text, StringConstraints(pattern=r"^[0-9]{12}$"), Expected("the id of an account: 12 digits")]
SnsTopic = Annotated[
    Text,
    StringConstraints(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$"),
    Expected("the ARN of a topic, like arn:aws:sns:eu-west-1:123456789012:archives"),
]
EventBus = Annotated[
    Text,
    StringConstraints(pattern=r"^(arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/)?[A-Za-z0-9/._-]{1,256}$"),
    Expected("the name or the ARN of an event bus, like default"),
]
Function = Annotated[
    Text,
    StringConstraints(
        pattern=r"^(arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:)?[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9$_-]{1,128})?$"
    ),
    Expected("the name or the ARN of a function, with :alias or :version if it is one"),
]


Names = Annotated[
    Text,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]+( *, *[A-Za-z0-9_-]+)*$"),
    Expected("one or more names, comma-separated"),
]


def split_names(text: str) -> list[str]:
    """Return the comma-separated names of *text*, without white space."""
    return [name for part in text.split(",") if (name := part.strip())]


def _validate_dsn(dsn: SecretStr) -> SecretStr:
    parse_dsn(dsn.get_secret_value())
    return dsn


DsnText = Annotated[
    SecretStr,  # it may have a key
    AfterValidator(_validate_dsn),
    Expected("region=… credentials=…, where credentials are iam:, env:, PROFILE, PATH:PROFILE or sts:ARN"),
]


def _validate_webhook_url(url: SecretStr) -> SecretStr:
    if parse_url(url.get_secret_value().strip()) is None:
        raise ValueError("no URL")
    return SecretStr(url.get_secret_value().strip())


def _validate_webhook_secret(secret: SecretStr) -> SecretStr:
    decode_secret(secret.get_secret_value().strip())
    return SecretStr(secret.get_secret_value().strip())


def _validate_orders_prefix(text: str) -> str:
    from archiver.core.event_rules import parse_orders_prefix  # noqa: PLC0415 - nothing of it where it is off

    parse_orders_prefix(text)
    return text


def _validate_template(text: str) -> str:
    from archiver.core.event_rules import check_template  # noqa: PLC0415 - nothing of it where it is off

    return check_template(text)


OrdersPrefix = Annotated[
    Text,
    AfterValidator(_validate_orders_prefix),
    Expected("a bucket and a folder in it, with the last slash, like inbox/orders/"),
]
RequestTemplate = Annotated[
    Text,
    AfterValidator(_validate_template),
    Expected('the JSON of a request without files, manifest, job_id, cancel and test, like {"on_missing": "skip"}'),
]
WebhookAddress = Annotated[
    SecretStr,  # many receivers know their senders by a token in it
    AfterValidator(_validate_webhook_url),
    Expected("an http or https URL without user, password and #"),
]
WebhookSecret = Annotated[
    SecretStr,
    AfterValidator(_validate_webhook_secret),
    Expected("whsec_ and the base64 of 24 to 64 bytes, like the output of: echo whsec_$(openssl rand -base64 32)"),
]


def _split_order_files(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.strip().split(":") if name.strip())
    if not names:
        raise ValueError("no files")
    return names


OrderFiles = Annotated[
    tuple[str, ...],
    BeforeValidator(_split_order_files),
    Expected("one or more names of files, separated by : (archiver run FILE takes names with a colon)"),
]
