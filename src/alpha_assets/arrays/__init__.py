"""What all rooms share and no room defines again: array types, keys, places, as-of, windows, ranks.

The lowest room: it knows NumPy and, in `places`, polars series; no calendar, feed or setting.
"""
