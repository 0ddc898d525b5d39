"""What a file holds: the bundle and its file, its checked fields, and signatures."""
