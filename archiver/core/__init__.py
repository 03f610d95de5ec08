"""Decides. Takes data, returns data: never awaits, never does I/O."""
