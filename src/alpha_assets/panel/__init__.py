"""What was known at each decision: the as-of join, adjustment, and universes."""
