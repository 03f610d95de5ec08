"""The emulated AWS of a test run, and clients for it."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from certificates import shared_trust
from emulator import Emulator

__all__ = ["REGION", "Clients", "Emulator", "clients"]

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Clients:
    """boto3 clients of S3 and SQS for one endpoint, without retries."""

    s3: Any
    sqs: Any


def clients(endpoint: str, read_timeout: float = 30) -> Clients:
    """Return clients for *endpoint*; *read_timeout* in seconds."""
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=read_timeout,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    made = [
        _session().client(name, endpoint_url=endpoint, config=config, verify=shared_trust().bundle)
        for name in ("s3", "sqs")
    ]
    return Clients(*made)


@cache
def _session() -> boto3.Session:
    # One session for all clients: each session loads its own service models, which takes a second.
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
