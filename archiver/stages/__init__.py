"""Moves bytes. Knows the ports and the core; never names AWS."""
