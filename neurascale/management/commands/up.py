"""`manage.py up`: the whole lab with one command."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from devices.models import Device
from ingest.models import Stream
from neurascale import __version__
from neurascale.core.audit import record, recorded
from neurascale.core.errors import NeuraScaleError
from neurascale.core.folders import make_private
from neurascale.supervisor.lab import lab_programs
from neurascale.supervisor.log import Log
from neurascale.supervisor.state import RunState
from neurascale.supervisor.supervisor import Supervisor
from sessions_app.models import Study

VIRTUAL_NAME = "OpenBCI Cyton (virtual)"
VIRTUAL_MONTAGE = ["Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2"]  # of its subject
VIRTUAL_FILTERS = {"notch": 50, "bandpass": [1, 50]}  # of what is shown; nothing else is filtered

EXPOSED = "others see tracebacks, and passwords go unencrypted; docs/security.md says what to set"


class Command(BaseCommand):
    """Start the lab, keep it running, stop it on Ctrl-C."""

    help = (
        "Start Valkey, the web server, workers, beat and a virtual board; start again what dies; "
        "stop all of it on Ctrl-C, or when the process that started this one ends."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        home, socket_folder = settings.HOME, settings.VALKEY_SOCKET.parent
        folders = (home, home / "valkey", home / "static", settings.RUN_DIR, socket_folder)
        try:
            were_open = [folder for folder in folders if make_private(folder)]
        except NeuraScaleError as error:
            raise CommandError(error.message) from error
        os.environ["NEURASCALE_HOME"] = str(settings.HOME)
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.chdir(settings.BASE_DIR)
        programs = lab_programs(
            home=settings.HOME,
            host=settings.NEURASCALE_HOST,
            bind=settings.BIND,
            port=settings.PORT,
            # What is larger than a view takes is refused by the view, with its limit.
            max_body_bytes=2 * settings.INGEST_MAX_BYTES,
            valkey_socket=settings.VALKEY_SOCKET if settings.VALKEY_IS_EMBEDDED else None,
            virtual_board=settings.VIRTUAL_BOARD,
        )
        log = Log(
            sys.stdout.fileno(),
            width=max(len(program.name) for program in programs),
            colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
        )

        def say_ready() -> None:
            url = f"http://{settings.BIND}:{settings.PORT}/"
            log.line("lab", f"ready after {time.monotonic() - began:.1f} s: {url}")

        log.line("lab", f"NeuraScale {__version__}, data in {settings.HOME}")
        for folder in were_open:
            log.line(
                "lab", f"{folder} was open to other users of this machine, and is not any more"
            )
        if settings.DEBUG and not is_loopback(settings.BIND):
            log.line(
                "lab", f"listens on {settings.BIND or 'all addresses'} with DEBUG=1: {EXPOSED}"
            )
        try:
            with RunState(settings.RUN_DIR) as state:
                for name, pid in state.end_leftovers().items():
                    log.line("lab", f"ended {name} ({pid}), left behind by a lab that was killed")
                check_port_is_free(settings.BIND, settings.PORT)
                with Supervisor(programs, state=state, log=log, on_ready=say_ready) as supervisor:
                    # Neither needs the database, so they start while it is looked after.
                    supervisor.start(*({"valkey", "board"} & supervisor.children.keys()))
                    for line in prepare():
                        log.line("lab", line)
                    supervisor.run()
        except NeuraScaleError as error:
            raise CommandError(error.message) from error
        log.line("lab", "stopped")


def resolve(bind: str, port: int) -> tuple[Any, ...]:
    """Return what `socket.getaddrinfo` says first of an address to listen on."""
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        return socket.getaddrinfo(bind or None, port, type=kind, flags=flags)[0]
    except socket.gaierror as error:
        raise CommandError(
            f"Cannot listen on {bind}: {error.strerror}. Set NEURASCALE_BIND to an address of this "
            "machine."
        ) from error


def is_loopback(bind: str) -> bool:
    """Tell whether only this machine's own programs can connect to an address."""
    return ip_address(resolve(bind, 0)[4][0]).is_loopback


def check_port_is_free(bind: str, port: int) -> None:
    """Raise `CommandError` if another program listens where the web server should."""
    family, kind, protocol, _, address = resolve(bind, port)
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {bind}:{port}: {error.strerror}. Stop the program that uses the "
                f"port, or set NEURASCALE_PORT to another one."
            ) from error


def prepare() -> list[str]:
    """Bring database and static files to what this version needs; return what was done."""
    done = []
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
        done.append("the database was brought up to date")
    if not settings.DEBUG:  # with DEBUG they are served from where they lie
        call_command("collectstatic", interactive=False, verbosity=0)
    done += first_run()
    connections.close_all()  # this process has no further use for them
    return done


def first_run() -> list[str]:
    """Give a lab without people its first one, and a board to look at; return what to tell."""
    people = get_user_model().objects
    if people.exists():
        return []
    password = secrets.token_urlsafe(12)
    with recorded():
        record("user.create", people.create_superuser("admin", password=password))
        study = Study.objects.create(name="My lab")
        record("study.create", study, study=study)
        if settings.VIRTUAL_BOARD:
            begin_virtual_stream(settings.RUN_DIR / "virtual-cyton")
    return [f"log in as admin with the password {password} (it is not shown again)"]


def begin_virtual_stream(link: Path) -> None:
    """Make the virtual Cyton a device that should stream; the acquisition worker sees to it."""
    device = Device.objects.create(
        name=VIRTUAL_NAME, board="cyton", port=str(link), settings={"ch_names": VIRTUAL_MONTAGE}
    )
    stream = Stream.of(
        device,
        picks=list(range(device.n_channels)),
        filters=VIRTUAL_FILTERS,
        chunk_ms=settings.CHUNK_MS,
    )
    stream.save()
    record("device.create", device)
    record("stream.start", stream, device=device.public_id)
