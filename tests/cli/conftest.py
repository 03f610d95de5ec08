"""The scenes and stages of the worker's tests, for commands."""

from worker.conftest import emulated, scene, set_stage

__all__ = ["emulated", "scene", "set_stage"]
