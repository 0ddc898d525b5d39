"""The arguments that several commands share, and their checks."""
