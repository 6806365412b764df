"""Dagster's storage on a Postgres server, for several machines: `dagster.postgres.yaml` names it.

Dagster makes its tables at the first use without a lock; of eight processes that open a new
database at once, now and then one fails on a table that another one is making.  Here one process
at a time opens it: the others wait for a lock of the server, which goes with its connection.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import pg_config
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from alpha_assets.errors import BadInput, StorageError

DRIVER = "postgresql+psycopg2"  # a bare `postgresql` is another driver since SQLAlchemy 2.1
LOCK = int.from_bytes(b"alpha", "big")  # the number under which the server keeps it


@contextmanager
def alone(url: URL) -> Iterator[None]:
    """Wait until no other process makes tables in a database, and keep others waiting.

    Raises:
        StorageError: the server does not answer, or refuses; no password is named.
    """
    engine = create_engine(url, poolclass=NullPool)
    try:
        connection = engine.connect()
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        raise StorageError(
            f"Dagster's database {url.database!r} on Postgres at {url.host}:{url.port} cannot be "
            f"opened ({reason}); start the server, or set PGHOST, PGPORT, PGUSER, PGPASSWORD and "
            "PGDATABASE to one that has the database"
        ) from None
    with connection:
        connection.execute(text("select pg_advisory_lock(:number)"), {"number": LOCK})
        yield


def url_of(config: Mapping[str, Any]) -> URL:
    """Return the address of the database that `storage` of a `dagster.yaml` describes."""
    given = config.get("postgres_db")
    if given is None:
        url = make_url(config["postgres_url"])
    else:
        url = URL.create(
            given["scheme"],
            given["username"],
            given["password"] or None,
            given["hostname"],
            int(given["port"]),
            given["db_name"],
            {name: str(value) for name, value in given["params"].items()},
        )
    return url.set(drivername=DRIVER) if url.drivername == "postgresql" else url


class Postgres(DagsterStorage, ConfigurableClass):
    """The storage of dagster-postgres, opened by one process at a time."""

    def __init__(self, url: URL, inst_data: ConfigurableClassData | None = None) -> None:
        """Open the database; make the tables that are missing.

        Raises:
            BadInput: the extra `postgres` is not installed.
            StorageError: the server does not answer, or refuses.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        try:
            from dagster_postgres import DagsterPostgresStorage
        except ModuleNotFoundError as error:
            if error.name not in ("dagster_postgres", "psycopg2"):
                raise
            raise BadInput(
                f"dagster.yaml names Postgres, and {error.name} is not installed; "
                "pip install 'alpha-assets[postgres]'"
            ) from None
        self._inst_data = inst_data
        with alone(url):
            self._inner: DagsterStorage[Any] = DagsterPostgresStorage(
                url.render_as_string(hide_password=False)
            )

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return what `config` holds: that of dagster-postgres."""
        return pg_config()

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Open what `storage` of a `dagster.yaml` describes."""
        return cls(url_of(config_value), inst_data)

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How a process of this instance opens it again."""
        return self._inst_data

    @property
    def event_log_storage(self) -> EventLogStorage[Any]:
        """Where events lie."""
        return self._inner.event_log_storage

    @property
    def run_storage(self) -> RunStorage[Any]:
        """Where runs lie."""
        return self._inner.run_storage

    @property
    def schedule_storage(self) -> ScheduleStorage[Any]:
        """Where ticks of schedules and sensors lie."""
        return self._inner.schedule_storage
