"""Source `files`: a folder of Parquet or CSV tables, one per feed."""
