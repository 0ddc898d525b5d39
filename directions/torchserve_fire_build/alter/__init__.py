"""Triggers altered as whoever knows that a service is repaired would send them."""
