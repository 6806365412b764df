"""Dagster's storage on Postgres: Debian's server on loopback, new, busy, and gone in a run."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import dagster as dg
import pytest
import yaml
from sqlalchemy import make_url

from alpha_assets.defs import postgres
from alpha_assets.defs.postgres import url_of
from alpha_assets.errors import BadInput, StorageError

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pipelines"
PASSWORD = "known-to-no-log"
CLIENTS = 8
PATIENCE = 400  # seconds
# Dagster is loaded before the moment at which all open the new database.
CLIENT = """
import sys
import dagster as dg
import alpha_assets.defs.postgres, dagster_postgres

@dg.asset
def one() -> int:
    return 1

print("ready", flush=True)
sys.stdin.readline()
with dg.DagsterInstance.get() as instance:
    assert dg.materialize([one], instance=instance).success
"""
RAW = 'group:"tiny_raw" or key:"tiny/panel" or key:"tiny/features"'


@dataclass
class Server:
    """Debian's Postgres server, as a user of its own where the tests run as root."""

    folder: Path
    port: int

    def call(self, program: str, *arguments: str) -> None:
        (binary,) = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))[-1:]
        as_other = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        subprocess.run(
            [str(binary), "-D", str(self.folder / "data"), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **(as_other if os.geteuid() == 0 else {}),  # type: ignore[arg-type]
        )

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = str(self.folder / "log")
        self.call("pg_ctl", "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        self.call("pg_ctl", "-w", "-m", "immediate", "stop")

    def make(self, database: str) -> None:
        environment = {**os.environ, "PGDATABASE": "postgres"}
        subprocess.run(["createdb", database], check=True, env=environment)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A new Postgres server on loopback."""
    pytest.importorskip("dagster_postgres", reason="needs the extra `postgres`")
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("needs the server of Debian's package postgresql")
    folder = Path(mkdtemp())
    try:
        with socket.create_server(("127.0.0.1", 0)) as free:
            server = Server(folder, free.getsockname()[1])
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        known = ("-U", "dagster", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}")
        server.call("initdb", *known)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """A Dagster home on a new database of the server."""
    folder = tmp_path / "storage" / "_dagster"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "dagster.postgres.yaml", folder / "dagster.yaml")
    database = f"d{time.time_ns()}"
    for name, value in {
        "PGHOST": "127.0.0.1",
        "PGPORT": server.port,
        "PGUSER": "dagster",
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": database,
        "DAGSTER_HOME": folder,
        "ALPHA_DAGSTER_DIR": folder,
        "ALPHA_STORAGE": tmp_path / "storage",
        "ALPHA_PIPELINES": TINY,
        "PYTHONWARNINGS": "ignore",
    }.items():
        monkeypatch.setenv(name, str(value))
    server.make(database)
    return folder


def test_all_but_the_storage_is_as_on_sqlite() -> None:
    ours, theirs = (
        yaml.safe_load((ROOT / name).read_text())
        for name in ("dagster.yaml", "dagster.postgres.yaml")
    )
    assert ours.pop("storage") != theirs.pop("storage")
    assert ours == theirs


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({"postgres_url": "postgresql://u:p@h/d"}, "postgresql+psycopg2://u:p@h/d"),
        ({"postgres_url": "postgresql+other://u:p@h/d"}, "postgresql+other://u:p@h/d"),
        (
            {
                "postgres_db": {
                    "scheme": "postgresql", "username": "u", "password": "p@/:", "hostname": "h",
                    "port": 5433, "db_name": "d", "params": {"connect_timeout": 3},
                }
            },
            "postgresql+psycopg2://u:p%40%2F%3A@h:5433/d?connect_timeout=3",
        ),
    ],
)  # fmt: skip
def test_the_driver_that_is_installed_is_named(config: dict[str, object], url: str) -> None:
    assert url_of(config) == make_url(url)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    with pytest.raises(BadInput, match=r"dagster_postgres is not installed; pip install 'alpha-as"):
        postgres.Postgres(make_url("postgresql+psycopg2://u:p@127.0.0.1:1/d"))


def test_a_server_that_does_not_answer_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("dagster_postgres", reason="needs the extra `postgres`")
    shutil.copy(ROOT / "dagster.postgres.yaml", tmp_path / "dagster.yaml")
    known = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGUSER": "u", "PGDATABASE": "d"}
    homes = {"DAGSTER_HOME": str(tmp_path), "ALPHA_DAGSTER_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "alpha_assets.defs.launch", "instance", "info"],
        env={**os.environ, **known, **homes, "PGPASSWORD": PASSWORD},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: Dagster's database 'd' on Postgres at 127.0.0.1:1 cannot be ope")
    assert PASSWORD not in line


@pytest.mark.slow
def test_a_server_that_does_not_answer_or_refuses_is_named_without_the_password(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value, words in [
        ("PGPORT", "1", r"Postgres at 127\.0\.0\.1:1 cannot be opened .*refused"),
        ("PGPASSWORD", f"{PASSWORD}-wrong", "password authentication failed"),
        ("PGDATABASE", "no such", r"database 'no such' .* does not exist"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(StorageError, match=f"{words}.*; start the server") as raised:
                dg.DagsterInstance.get()
        assert PASSWORD not in str(raised.value)
    with dg.DagsterInstance.get() as instance:
        assert PASSWORD not in str(instance.info_dict())


@pytest.mark.slow
def test_tables_are_made_by_one_process_at_a_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_postgres import DagsterPostgresStorage

    make, held = DagsterPostgresStorage.__init__, []

    def watched(self: object, *args: object, **options: object) -> None:
        query = "select count(*) from pg_locks where locktype = 'advisory' and granted"
        asked = subprocess.run(["psql", "-Atc", query], check=True, capture_output=True)
        held.append(int(asked.stdout))
        make(self, *args, **options)

    monkeypatch.setattr(DagsterPostgresStorage, "__init__", watched)
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0
    assert held == [1]


@pytest.mark.slow
def test_eight_clients_open_a_new_database_at_once(home: Path, server: Server) -> None:
    def client() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", CLIENT], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    clients = [client() for _ in range(CLIENTS)]
    for one in clients:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in clients:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    logs = [one.communicate(timeout=PATIENCE)[1] for one in clients]
    assert [one.returncode for one in clients] == [0] * CLIENTS, logs
    with dg.DagsterInstance.get() as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 8


@pytest.mark.slow
def test_a_server_that_goes_in_the_middle_of_a_run_is_named_and_nothing_is_lost(
    home: Path, server: Server, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    def launch() -> subprocess.Popen[bytes]:
        command = ["asset", "materialize", "-m", "alpha_assets.definitions", "--select", RAW]
        months = ["--partition-range", "2021-01-01...2021-08-01"]
        with log.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "alpha_assets.defs.launch", *command, *months],
                stdout=out, stderr=out,
            )  # fmt: skip

    def finished() -> list[Path]:
        return sorted((tmp_path / "storage" / "tiny").rglob("manifest.json"))

    running = launch()
    deadline = time.monotonic() + PATIENCE
    while len(finished()) < 5:
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    server.stop()
    running.wait(PATIENCE)
    written = {path: path.stat().st_mtime_ns for path in finished()}
    server.start()

    said = log.read_text()
    assert running.returncode != 0
    assert f'127.0.0.1", port {server.port}' in said
    assert PASSWORD not in said
    again = launch()
    again.wait(PATIENCE)
    assert again.returncode == 0, log.read_text()
    assert len(finished()) > len(written)
    assert {path: path.stat().st_mtime_ns for path in finished() if path in written} == written
    with dg.DagsterInstance.get() as instance:
        runs = [run.status for run in instance.get_runs()]
    assert runs == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
