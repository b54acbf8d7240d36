"""`manage.py verify_audit`: see whether the audit log is as it was written."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from neurascale.core.audit import verify


class Command(BaseCommand):
    help = (
        "Check that no entry of the audit log was altered, removed or put in; exit with 1 and say "
        "which if one was. Note the head that is printed somewhere else, and give it the next time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head", metavar="HASH", help="the head that was noted when the log was checked before"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        checked = verify(noted=options["head"])
        for problem in checked.problems:
            self.stderr.write(problem)
        self.stdout.write(f"{checked.n_entries} entries, head {checked.head}")
        if checked.problems:
            sys.exit(1)
