"""Whether a model looks backdoored at all: methods that inspect it, before any repair."""
