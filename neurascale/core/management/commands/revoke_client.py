"""`manage.py revoke_client`: withdraw an API client's tokens, and switch it off if asked."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from neurascale.core.models import Client
from neurascale.core.services import change_client, revoke_tokens


class Command(BaseCommand):
    help = "Withdraw all tokens of an API client; open sockets end within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("client_id")
        parser.add_argument(
            "--deactivate", action="store_true", help="also give it no new ones, until it is active"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        client = Client.objects.filter(public_id=options["client_id"]).first()
        if client is None:
            raise CommandError(f"There is no client {options['client_id']}")
        revoke_tokens(client=client)
        if options["deactivate"]:
            change_client(client=client, principal=None, is_active=False)
        self.stdout.write(f"The tokens of {client} are withdrawn.")
