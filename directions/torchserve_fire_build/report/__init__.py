"""Pictures and tables of a build, for a person."""
