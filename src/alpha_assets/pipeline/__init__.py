"""The road: markets and recipes composed, and the stages between raw rows and the report."""
