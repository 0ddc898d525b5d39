"""Searching a model for its triggers, with clean samples only."""
