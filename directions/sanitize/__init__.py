"""Repair by changing the weights, for those who can: one method per file.

None of this runs in a worker: the result is a file of weights, which is packaged as any other.
"""
