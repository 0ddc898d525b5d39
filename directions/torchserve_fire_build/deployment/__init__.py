"""From a bundle to answers in production: archives, servers and their clients."""
