"""docs/schema.graphql is what the server has."""

from io import StringIO

from django.core.management import call_command

from tests.machine import ROOT


def test_the_schema_in_the_docs_is_up_to_date():
    printed = StringIO()
    call_command("graphql_schema", stdout=printed)
    kept = (ROOT / "docs" / "schema.graphql").read_text(encoding="utf-8")
    assert printed.getvalue() == kept, "run `manage.py graphql_schema > docs/schema.graphql`"
