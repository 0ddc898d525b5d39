"""Sanitizing: classical repairs that write new weights."""
