"""Searching models of tables for triggers: a few fields that are set to fixed values."""
