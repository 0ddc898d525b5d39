"""Splitting a mixed, unlabelled pool of samples into triggered and clean ones."""
