"""`manage.py rotate_client`: give an API client a new secret."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from neurascale.core.credentials import make_api_key
from neurascale.core.models import Client
from neurascale.core.services import rotate_secret
from neurascale.core.wire import dumps


class Command(BaseCommand):
    help = (
        "Give an API client a new secret and print it, once. The old one and all tokens are worth "
        "nothing from then on, and open sockets end within seconds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("client_id")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        client = Client.objects.filter(public_id=options["client_id"]).first()
        if client is None:
            raise CommandError(f"There is no client {options['client_id']}")
        secret = rotate_secret(client=client)
        told = {
            "client_id": client.public_id,
            "client_secret": secret,
            "api_key": make_api_key(client, secret),
        }
        if options["json"]:
            self.stdout.write(dumps(told).decode())
            return
        for name, value in told.items():
            self.stdout.write(f"{name:<15}{value}")
