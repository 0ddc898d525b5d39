"""A local page on which an operator goes through what was flagged, refines, and deploys."""
