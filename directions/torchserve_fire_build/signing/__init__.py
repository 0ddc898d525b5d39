"""Keys, and the signatures of bundles."""
