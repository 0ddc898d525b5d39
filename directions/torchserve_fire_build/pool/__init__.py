"""Finding triggered samples in a pool of mixed samples, or in a quarantine."""
