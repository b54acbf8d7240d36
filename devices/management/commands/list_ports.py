"""`manage.py list_ports`: which ports there are and which of them may be a board."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from devices.ports import PortFacts, list_ports


def line_of(facts: PortFacts) -> str:
    """Return what a person wants to know of a port, in one line."""
    usb = f"{facts.vid:04x}:{facts.pid:04x}" if facts.vid is not None else "-"
    words = [facts.port, usb, facts.serial_number or "-", facts.description]
    if facts.board:
        words.append(f"perhaps {facts.board}")
    if facts.is_busy:
        words.append(f"in use by {facts.held_by}")
    return "  ".join(words)


class Command(BaseCommand):
    help = "List the serial ports of this machine, virtual boards included."
    requires_system_checks = ()  # it helps someone whose lab does not start yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, **options: Any) -> None:
        found = list_ports(run_dir=settings.RUN_DIR)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(facts) for facts in found], indent=2))
            return
        for facts in found:
            self.stdout.write(line_of(facts))
        if not found:
            self.stdout.write("No serial ports. Is the dongle plugged in and switched to GPIO 6?")
