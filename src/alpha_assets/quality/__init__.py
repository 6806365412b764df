"""Coverage of feeds and features, and the checks that run and Dagster share."""
