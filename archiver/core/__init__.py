"""Pure functions and data: never awaits, never does I/O."""
