"""The calendar, folders and store that the tests of sources share."""

from tests.sources.conftest import new_york, tokyo_calendar, write

__all__ = ["new_york", "tokyo_calendar", "write"]
