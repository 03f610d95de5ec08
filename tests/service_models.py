"""botocore's models of S3 and SQS, read once for all sessions of a process and of those forked from it."""

from functools import cache

import botocore.session
from botocore.loaders import create_loader

_shared_loader = cache(create_loader)


def share_service_models() -> None:
    """
    From now on, give all sessions of this process one loader. With a loader of its own, each session parses a megabyte
    of JSON: 0.1 s of processor time.
    """
    botocore.session.create_loader = _shared_loader


def read_service_models() -> None:
    """Read what a client of S3 or SQS reads, so that forked processes have it already."""
    loader = _shared_loader(None)
    for service in ("s3", "sqs"):
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model(service, kind, api_version=None)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
