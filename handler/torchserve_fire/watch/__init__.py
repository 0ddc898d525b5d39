"""What a worker remembers of its requests: counts, scores, drift, and flagged inputs."""
