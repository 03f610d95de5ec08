"""Tests of the documentation: every code block runs, or is marked as output or with what it needs to run."""
