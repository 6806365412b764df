"""Nothing above the store touches a storage file by itself: everything goes through its backend."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import alpha_assets

SOURCE = Path(alpha_assets.__file__).parent

# Modules with which a path is opened, listed, moved or removed.
MODULES = {"fcntl", "glob", "mmap", "pathlib", "shutil", "tempfile"}
# Of `os`, what reads no file.
HARMLESS = {
    "_exit", "cpu_count", "environ", "execve", "get_terminal_size", "getpid", "sched_getaffinity",
    "sysconf",
}  # fmt: skip
# Functions and methods that read or write a file whose path they are given, or that is theirs.
CALLS = {
    "open", "glob", "is_dir", "is_file", "iterdir", "joinpath", "load_file",
    "lstat", "mkdir", "read_bytes", "read_csv", "read_ipc", "read_parquet", "read_parquet_schema",
    "read_text", "rglob", "rmdir", "rmtree", "safe_open", "save_file", "scan_csv", "scan_ipc",
    "scan_parquet", "sink_parquet", "touch", "unlink", "write_bytes", "write_csv", "write_parquet",
    "write_text",
}  # fmt: skip
# Rooms of the store below its tables, folders and documents.
BELOW = {"atomic_replace", "backend", "folder_backend", "lock", "os_errors", "snapshot"}

# Who may, and why.  None of it is a file of the storage, but for the two of `audit`, whose worlds
# are storages of their own in a temporary folder, thrown away whole.
ALLOWED = {
    "audit/certificate.py": "makes and removes the temporary folder of an audit's worlds",
    "audit/rebuild.py": "names the folder of an audit's world",
    "audit/serialize.py": "reads Parquet out of bytes that an explanation holds",
    "cli.py": "Dagster's home and workspace; folders that the user names",
    "code": "reads the source of this package; its digests, in the user's cache",
    "config/document.py": "writes pages of docs/",
    "config/folders.py": "TOML files of markets and recipes",
    "config/keywords.py": "names the folder that the user gives, in a type",
    "config/market.py": "the user's data folder and the landing folder of an API's answers",
    "dataset/space.py": "maps memory over a scratch file that the store gives; opens none",
    "defs/attributes.py": "the source of the package, for references to code",
    "defs/market.py": "the source of the package, for references to code",
    "defs/databases.py": "the lock file beside Dagster's databases",
    "defs/launch.py": "Dagster's home",
    "feeds/base.py": "names the folder that a source reads, for messages and markets",
    "kept.py": "answers that are kept in the user's cache",
    "features/document.py": "writes pages of docs/",
    "pipeline/coverage_table.py": "writes a table of docs/, from a temporary storage",
    "pipeline/executors/cluster.py": "names the folder that it works in",
    "pipeline/executors/ray_task.py": "goes to the folder that who asked works in; opens nothing",
    "pipeline/study.py": "packs a fold's scores as Parquet into a document that the store gives",
    "project.py": "folders that the user names",
    "report/tearsheet.py": "reads the template that ships with the package",
    "spec.py": "TOML files of markets and recipes",
    "sources": "the user's files, the landing folder of an API's answers, the local server",
}


def touches(tree: ast.AST) -> Iterator[str]:
    """Yield what in a module touches files, or goes round the store's tables and folders."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module in MODULES:
                yield module
            elif module == "os":
                yield from (f"os.{n.name}" for n in node.names if n.name not in HARMLESS)
            elif module.startswith("alpha_assets.store"):
                names = {*module.split("."), *(alias.name for alias in node.names)}
                yield from sorted(names & BELOW)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in CALLS:
                yield f"{name}()"
        elif isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if of == "os" and node.attr not in HARMLESS:
                yield f"os.{node.attr}"
            elif node.attr == "backend":
                yield ".backend"


def rule_of(path: str) -> str | None:
    """Return the entry of the list that allows a module, by file or by room."""
    return next((rule for rule in ALLOWED if path == rule or path.startswith(f"{rule}/")), None)


def test_no_room_above_the_store_touches_files_by_itself() -> None:
    found = {}
    needed = set()
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("store/"):
            continue
        touched = sorted(set(touches(ast.parse(path.read_text(encoding="utf-8")))))
        rule = rule_of(name)
        if touched and rule is None:
            found[name] = touched
        elif touched:
            needed.add(rule)
    assert found == {}
    assert set(ALLOWED) - needed == set(), "no longer needed"


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ("from pathlib import Path\nPath(folder.address).exists()", "pathlib"),
        ("pl.scan_parquet(f'{folder.address}/rows.parquet')", "scan_parquet()"),
        ("with open(address) as file: ...", "open()"),
        ("import os\nos.replace(a, b)", "os.replace"),
        ("from os import scandir", "os.scandir"),
        ("import shutil", "shutil"),
        ("table.store.backend.delete(name)", ".backend"),
        ("from alpha_assets.store.folder_backend import FolderBackend", "folder_backend"),
        ("from alpha_assets.store import lock", "lock"),
        ("safetensors.safe_open(path, framework='pt')", "safe_open()"),
    ],
)
def test_the_walk_sees_what_touches_a_file(planted: str, named: str) -> None:
    assert named in set(touches(ast.parse(planted)))


def test_the_walk_lets_the_store_be_used() -> None:
    used = "import os\nos.environ['X']\nfolder.exists()\nroad.store.finished('sim')\ntable.read()"
    assert list(touches(ast.parse(used))) == []
