"""
`archiver local` and `archiver demo`: the service and an embedded S3 and SQS in one process.

Needs moto, which the service itself does not: `pip install 'archiver[local]'`.
"""

from archiver.local.demo import run_demo
from archiver.local.run import run_local

__all__ = ["run_demo", "run_local"]
