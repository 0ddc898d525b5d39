"""Scanning a model for the target of a backdoor: all classes at a glance, a few of them closely."""
