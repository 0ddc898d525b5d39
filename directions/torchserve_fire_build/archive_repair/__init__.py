"""From the archive in production to the repaired one: build, pack, and prove in workers."""
