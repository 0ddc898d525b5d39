"""In a server made of KServe's Python SDK: an adapter over `core`, without Java."""
