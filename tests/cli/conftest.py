"""The scenes and stages of the worker's tests, for commands."""

from processes.conftest import emulated, scene, set_stage

__all__ = ["emulated", "scene", "set_stage"]
