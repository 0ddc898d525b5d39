"""Searches for triggers in texts: a few tokens that lead every text to one class."""
