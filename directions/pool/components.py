"""How many dimensions the features of a class are reduced to, where a method reduces them."""

COMPONENTS = 10
"""Activation Clustering's paper has as many."""
