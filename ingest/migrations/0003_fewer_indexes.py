"""Indexes that no query needs: a constraint of the same table begins with the same column.

Each cost every insertion a page. They are dropped by name: Django would copy the whole table of
samples for it on SQLite.
"""

import django.db.models.deletion
from django.db import migrations, models

DROPPED = {
    "ingest_block_stream_id_8c4bb8b5": ("ingest_block", "stream_id"),
    "ingest_gap_stream_id_7219852b": ("ingest_gap", "stream_id"),
    "ingest_qualitywindow_stream_id_09bc5d9b": ("ingest_qualitywindow", "stream_id"),
    "ingest_ingestion_client_id_589c058e": ("ingest_ingestion", "client_id"),
}


def of_stream(name: str) -> models.ForeignKey:
    """Return the field that refers to a stream."""
    return models.ForeignKey(
        db_index=False,
        on_delete=django.db.models.deletion.CASCADE,
        related_name=name,
        to="ingest.stream",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0003_kept_answers"),
        ("ingest", "0002_withdrawn_gaps"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    f'DROP INDEX IF EXISTS "{name}"',
                    f'CREATE INDEX "{name}" ON "{table}" ("{column}")',
                )
                for name, (table, column) in DROPPED.items()
            ],
            state_operations=[
                migrations.AlterField("block", "stream", of_stream("blocks")),
                migrations.AlterField("gap", "stream", of_stream("gaps")),
                migrations.AlterField("qualitywindow", "stream", of_stream("quality_windows")),
                migrations.AlterField(
                    "ingestion",
                    "client",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="core.client",
                    ),
                ),
            ],
        )
    ]
