"""Talking to a server: management, readiness, swaps."""
