from alpha_assets.project import (
    Project,
    audit,
    catalog,
    import_check,
    init,
    market_toml,
    markets,
    open,
    predict,
    recipe_toml,
    recipes,
    report,
    results,
    run,
    sql,
    status,
    why,
)

__all__ = [
    "Project",
    "__version__",
    "audit",
    "catalog",
    "import_check",
    "init",
    "market_toml",
    "markets",
    "open",
    "predict",
    "recipe_toml",
    "recipes",
    "report",
    "results",
    "run",
    "sql",
    "status",
    "why",
]

__version__: str
VERBS: tuple[str, ...]
