"""Where the TOML files of markets and recipes lie, and a project folder of the user's own."""

import os
import re
import shutil
from pathlib import Path

from alpha_assets.errors import SpecError, did_you_mean, spelled

# Dagster reads `.env` from the folder that it starts in and puts it over the environment: each
# value is the environment's where that has one.
ENV = """DAGSTER_HOME="${{DAGSTER_HOME:-{folder}}}"
ALPHA_STORAGE="${{ALPHA_STORAGE:-{folder}/storage}}"
ALPHA_DAGSTER_DIR="${{ALPHA_DAGSTER_DIR:-{folder}/storage/_dagster}}"
"""
NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
PIPELINES = "pipelines"
VARIABLE = "ALPHA_PIPELINES"

PACKAGE = Path(__file__).resolve().parents[1]
# In a checkout the files lie at its root; a wheel carries them inside the package.
SHIPPED = (PACKAGE / "shipped", PACKAGE.parents[1])


def pipelines_folder() -> Path:
    """Return the folder of markets and recipes.

    That is `ALPHA_PIPELINES`; else `pipelines/` of the project folder that the working directory
    lies in; else the one that ships with the package.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise SpecError(
                f"{VARIABLE} = {named}: there is no such folder; set it to the one that holds "
                "markets/ and recipes/"
            )
        return folder
    project = project_folder()
    return (project or shipped_folder()) / PIPELINES


def project_folder() -> Path | None:
    """Return the project that the working directory lies in: the nearest folder with pipelines."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if all((folder / PIPELINES / kind).is_dir() for kind in ("markets", "recipes")):
            return folder
    return None


def shipped_folder() -> Path:
    """Return the folder with the pipelines and the Dagster files that ship with the package."""
    return next(folder for folder in SHIPPED if (folder / PIPELINES).is_dir())


def write_project(folder: Path) -> list[Path]:
    """Write a project folder of the user's own: the shipped markets, recipes and Dagster files.

    Returns:
        The files written.

    Raises:
        SpecError: the folder has one of them already, or cannot be written; nothing is changed.
    """
    source = shipped_folder()
    kept = [Path("dagster.yaml"), Path("dagster.postgres.yaml"), Path("workspace.yaml")]
    kept += sorted(path.relative_to(source) for path in (source / PIPELINES).rglob("*.toml"))
    env = Path(".env")  # with it any of Dagster's commands finds its home and our settings
    there = [path for path in (*kept, env) if (folder / path).exists()]
    if there:
        raise SpecError(
            f"{folder} holds {there[0]} already ({len(there)} of {len(kept) + 1} files); name a "
            "folder that has none of them"
        )
    try:
        for path in kept:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, folder / path)
        (folder / env).write_text(ENV.format(folder=folder.absolute()), encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"{folder} cannot be written: {error.strerror}; name another folder"
        ) from None
    return [folder / path for path in (*kept, env)]


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all markets or all recipes, sorted."""
    return tuple(sorted(path.stem for path in (pipelines_folder() / kind).glob("*.toml")))


def named_file(kind: str, name: str) -> Path:
    """Return the file of one market or recipe.

    Raises:
        SpecError: there is none of that name.
    """
    known = names(kind)
    if name in known and not NAME.fullmatch(name):
        raise SpecError(
            f"{pipelines_folder().name}/{kind}/{name}.toml: a file is named by small letters, "
            "digits and _, the first no _; rename it"
        )
    if name not in known:
        raise SpecError(
            f"there is no {kind.removesuffix('s')} {spelled(name)} in "
            f"{pipelines_folder().name}/{kind}; {did_you_mean(name, known, 1)}"
            f"want one of {', '.join(known)}"
        )
    return pipelines_folder() / kind / f"{name}.toml"
