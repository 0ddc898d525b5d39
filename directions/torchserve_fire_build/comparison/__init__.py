"""`compare`: all defences on one model, measured on samples that none of them saw."""
