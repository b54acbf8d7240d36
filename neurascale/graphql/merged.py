"""Which app brings what: an app's part is its `graphql` module, and one line here."""

from __future__ import annotations

from typing import Any

from strawberry.tools import merge_types

from devices import graphql as devices
from ingest.graphql import devices as streams
from ingest.graphql import live
from ingest.graphql import sessions as recordings
from neurascale.core.graphql import things
from neurascale.core.graphql.scalars import CONFIG
from neurascale.core.graphql.schema import LabSchema
from neurascale.graphql.sockets import WatchedSocket
from sessions_app.graphql import clients
from sessions_app.graphql import sessions as studies

PARTS = (things, devices, studies, clients, streams, recordings, live)


def merged(root: str) -> Any:
    """Return one of the three root types, with what every part brings to it."""
    return merge_types(root, tuple(getattr(part, root) for part in PARTS if hasattr(part, root)))


schema = LabSchema(
    query=merged("Query"),
    mutation=merged("Mutation"),
    subscription=merged("Subscription"),
    types=[kind.type for kind in things.KINDS.values()],
    config=CONFIG,
)
Socket: Any = WatchedSocket.as_asgi(schema=schema)
