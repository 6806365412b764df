"""The Dagster edge: thin assets, checks, jobs, schedules and sensors over `road`."""
