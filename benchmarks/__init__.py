"""Measured figures, printed as tables.  Nothing here is a test; `make bench` runs all of it."""
