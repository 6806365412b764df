"""The Dagster edge: thin assets, checks, jobs, schedules and sensors over `pipeline`."""

import warnings

import dagster as dg

# Backfill policies and look-back over missing partitions are marked beta in the pinned version;
# a warning per asset would bury what matters in every command's output.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
