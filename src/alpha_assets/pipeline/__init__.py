"""The stages between raw rows and the report, their contexts, the runner and status."""
