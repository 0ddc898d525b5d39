"""Measurements of the repair: victims, evidence, rivals, figures."""
