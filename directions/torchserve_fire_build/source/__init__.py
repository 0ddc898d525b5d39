"""Where a model and its samples come from: from files, or from an archive and its own handler."""
