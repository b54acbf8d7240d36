"""`manage.py graphql_schema`: print the schema of `/graphql`, as docs/schema.graphql has it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from neurascale import graphql


class Command(BaseCommand):
    help = "Print the GraphQL schema; `manage.py graphql_schema > docs/schema.graphql`."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(graphql.schema.as_str())
