"""
The service beside an AWS of its own, in one process: what `archiver local` and `archiver demo` do.

Needs moto, which is no part of the service: `pip install 'archiver[local]'`.
"""

from archiver.local.demo import run_demo
from archiver.local.run import run_local

__all__ = ["run_demo", "run_local"]
