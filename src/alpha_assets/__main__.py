"""`python -m alpha_assets`: the command line."""

from alpha_assets.cli import main

if __name__ == "__main__":
    main()
