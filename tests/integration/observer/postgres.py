"""A real PostgreSQL for the tests: installed where it is missing, one server, a fresh database for each test."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from perennial_localcluster.debian import install

USER = "perennial"
# initdb and the server refuse to run as root.
ACCOUNTS = ("postgres", "nobody")
SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum": "off",
}


def find_programs() -> Path:
    """Return the folder of initdb and pg_ctl, with Debian's package installed if it must be."""
    found = _find()
    if found is None:
        # Debian would make and start a server of the machine's own.
        own = Path("/etc/postgresql-common/createcluster.conf")
        if not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text("create_main_cluster = false\n")
        install(["postgresql"])
        found = _find()
    assert found is not None, (
        "PostgreSQL is not installed: install Debian's postgresql, or put initdb into PATH"
    )
    return found


def _find() -> Path | None:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    command = shutil.which("initdb")
    return None if command is None else Path(command).parent


@dataclass(frozen=True)
class Postgres:
    """A server on a socket of its own."""

    programs: Path
    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        with psycopg.connect(
            f"host={self.folder} user={USER} dbname={database}", autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "-w", "-l", log, "-o", f"-k {self.folder} {options}", "start")

    def stop(self) -> None:
        """Stop as a crash would: connections are cut, nothing is written on the way out."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def initialise(self) -> None:
        self._run(
            "initdb", "--auth=trust", f"--username={USER}", "--no-sync", "--no-locale", "--encoding=UTF8"
        )

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "PGDATA": str(self.folder / "data")}
        account = _account()
        as_whom = (
            {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        )
        # Not through a pipe, which the server would inherit and hold open.
        with (self.folder / "output").open("w+") as output:
            done = subprocess.run(
                [self.programs / program, *arguments],
                env=environment,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                timeout=60,
                check=False,
                **as_whom,
            )
            output.seek(0)
            assert done.returncode == 0, output.read()


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in ACCOUNTS if name in known)


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    # A Unix socket's path may have 107 characters, which pytest's folders exceed.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        account = _account()
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        server = Postgres(find_programs(), folder)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
