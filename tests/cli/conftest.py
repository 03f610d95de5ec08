"""The scenes and stages of the worker's tests, for commands."""

from processes.conftest import emulated, open_scenario, worker_env

__all__ = ["emulated", "open_scenario", "worker_env"]
