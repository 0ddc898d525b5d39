"""What is packed into the plain archives: handlers and models as somebody else would write them.

Nothing here imports this project: each file lies in an archive's root, beside the files it needs.
"""
