"""The user's model and what it takes: weights, settings, and inputs as requests bring them."""
