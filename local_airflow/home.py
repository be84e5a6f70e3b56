"""The directory .airflow: everything that a local Airflow keeps, and who may use it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from local_airflow.errors import AlreadyRunningError, LocalAirflowError

CHECKOUT = Path(__file__).resolve().parents[1]
PLUGINS = CHECKOUT / "plugins"
DAGS = CHECKOUT / "dags"


@dataclass(frozen=True, slots=True)
class LocalSecrets:
    """Keys that all processes of this Airflow share. Made once: they read what earlier runs encrypted."""

    fernet_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    api_secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below one directory, by default `.airflow` in the checkout."""

    directory: Path = CHECKOUT / ".airflow"

    @property
    def airflow_db(self) -> Path:
        """Airflow's metadata, where no PostgreSQL server keeps it."""
        return self.directory / "airflow.db"

    @property
    def postgresql(self) -> Path:
        """The folder of the PostgreSQL server that keeps Airflow's metadata."""
        return self.directory / "postgresql"

    @property
    def airflow_db_version(self) -> Path:
        """The version of Airflow that the metadata was migrated to last."""
        return self.directory / "airflow.db.version"

    @property
    def has_started_before(self) -> bool:
        """Whether everything was prepared here once; an interrupted first start does not count."""
        return self.airflow_db_version.exists()

    @property
    def warehouse_db(self) -> Path:
        """The example warehouse."""
        return self.directory / "warehouse.db"

    @property
    def ledger_db(self) -> Path:
        """The sample ledger."""
        return self.directory / "ledger.db"

    @property
    def sandbox_books(self) -> Path:
        """What the sandbox remembers: without it a second run would find nobody enrolled."""
        return self.directory / "sandbox.db"

    @property
    def task_logs(self) -> Path:
        """Logs of tasks, as Airflow's UI shows them."""
        return self.directory / "logs"

    @property
    def process_logs(self) -> Path:
        """One log for each process of the last start."""
        return self.task_logs / "processes"

    @property
    def processes(self) -> Path:
        """What was started last, so that what a killed run left behind can be ended."""
        return self.directory / "processes.json"

    @property
    def to_pause(self) -> Path:
        """Names the campaign that `make run` has unpaused, until it is paused again."""
        return self.directory / "to-pause"

    def create(self) -> None:
        """Make the directory, for its owner only."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process_logs.mkdir(parents=True, exist_ok=True)

    def secrets(self) -> LocalSecrets:
        """The keys, made and written (mode 600) when they are asked for the first time."""
        path = self.directory / "secrets.json"
        try:
            written = json.loads(path.read_text())
            return LocalSecrets(**{key.name: str(written[key.name]) for key in fields(LocalSecrets)})
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise LocalAirflowError(f"{path} is damaged: run `make clean` to start afresh") from error
        made = LocalSecrets(
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt_secret=secrets.token_urlsafe(64),
            api_secret_key=secrets.token_urlsafe(32),
        )
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(made), file)
        beside.rename(path)
        return made

    def sandbox_port(self) -> int | None:
        """The port of the sandbox that the sample ledger knows, if there was one.

        The ledger tells platforms apart by their address: a sandbox at another port would be another one,
        and everybody would be submitted to it again.
        """
        try:
            return int((self.directory / "sandbox-port").read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise LocalAirflowError(
                f"{self.directory / 'sandbox-port'} holds no number: run `make clean` to start afresh"
            ) from error

    def remember_sandbox_port(self, port: int) -> None:
        """Keep the port for all later runs."""
        (self.directory / "sandbox-port").write_text(f"{port}\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only local Airflow of this directory. The lock goes with its process, however that ends.

        Raises:
            AlreadyRunningError: somebody else is.
        """
        with (self.directory / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise AlreadyRunningError(
                    f"another local Airflow of this checkout is running (process {file.read().strip()}): "
                    "end it with Ctrl-C in its terminal, or wait until it is done"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
