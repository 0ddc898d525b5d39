"""Searching a model for its trigger, given clean samples alone."""
