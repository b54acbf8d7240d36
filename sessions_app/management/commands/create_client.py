"""`manage.py create_client`: make a program known to the API."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from neurascale.core.auth import ROLES, Scope
from neurascale.core.errors import InvalidError
from neurascale.core.wire import dumps
from sessions_app.models import Study
from sessions_app.services import NewClient, create_client


class Command(BaseCommand):
    help = "Make an API client and print its id, secret and API key, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="what people call the program")
        parser.add_argument(
            "--scopes",
            nargs="+",
            default=["viewer"],
            metavar="SCOPE",
            help=f"roles ({', '.join(ROLES)}), scopes ({', '.join(Scope)}), or all; "
            "viewer by default",
        )
        parser.add_argument("--study", metavar="ID", help="its study; a new one of its own if none")
        parser.add_argument(
            "--expires-in-days",
            type=float,
            metavar="N",
            help="it ends then; never by default",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        study = None
        if options["study"]:
            study = Study.objects.filter(public_id=options["study"]).first()
            if study is None:
                raise CommandError(f"There is no study {options['study']}")
        days = options["expires_in_days"]
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        try:
            new = create_client(
                name=options["name"], scopes=options["scopes"], study=study, expires_at=expires_at
            )
        except InvalidError as error:
            raise CommandError(f"{error.message}. {error.details['fields']['scopes'][0]}") from None
        self.stdout.write(as_json(new) if options["json"] else as_text(new))


def as_json(new: NewClient) -> str:
    """Return a client for programs."""
    told = {
        "client_id": new.client_id,
        "client_secret": new.client_secret,
        "api_key": new.api_key,
        "name": new.client.name,
        "scopes": new.client.scopes,
        "study_id": new.client.studies.get().public_id,
    }
    return dumps(told).decode()


def as_text(new: NewClient) -> str:
    """Return a client for people."""
    study = new.client.studies.get()
    return "\n".join(
        [
            f"Client {new.client.name}, member of study {study.name} ({study.public_id})",
            f"Scopes         {' '.join(new.client.scopes)}",
            f"client_id      {new.client_id}",
            f"client_secret  {new.client_secret}",
            f"api_key        {new.api_key}",
            "Keep the secret or the key now: they are not shown again.",
        ]
    )
