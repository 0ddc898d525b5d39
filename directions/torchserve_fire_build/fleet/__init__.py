"""Inspecting many archives, one by one or by several workers."""
