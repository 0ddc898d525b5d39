"""Answering requests with repair, whatever server they come from."""
