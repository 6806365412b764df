"""Markets and recipes: TOML files parsed into specs."""
