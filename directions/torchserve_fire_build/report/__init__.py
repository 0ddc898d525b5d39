"""Pictures and tables that show a build."""
