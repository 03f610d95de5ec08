"""The scenes and stages of the worker's tests, for commands."""

from worker.conftest import emulated, emulator, scene, set_stage

__all__ = ["emulated", "emulator", "scene", "set_stage"]
