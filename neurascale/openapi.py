"""What the OpenAPI document says beside its paths: what this is, its parts, and the WebSocket.

OpenAPI describes requests with one answer each; `/v1/stream` is described in ``x-websocket``, one
JSON schema a message, in the manner of AsyncAPI.
"""

from __future__ import annotations

from typing import Any

from neurascale import __version__

TEXT, TRUTH, ANY = {"type": "string"}, {"type": "boolean"}, {}
WHOLE, NUMBER = {"type": "integer"}, {"type": "number"}
CHANNELS = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1}
ROWS = {"type": "array", "items": {"type": "array", "items": NUMBER}}
OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": {}}
MILLISECONDS = {
    "type": "number",
    "description": "Since the Unix epoch: when the first sample was taken, on the fitted clock.",
}


def or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that may be unknown."""
    return {**schema, "type": [schema["type"], "null"]}


def message(kind: str, says: str, *, optional: str = "", **fields: Any) -> dict[str, Any]:
    """Return the schema of one type of message; ``optional`` names what may be left out."""
    return {
        "type": "object",
        "description": says,
        "properties": {
            "type": {"const": kind},
            **fields,
            "id": {"description": "Of the client's message; its answer carries it back."},
        },
        "required": ["type", *(name for name in fields if name not in optional.split())],
    }


SUBSCRIPTION = {
    "device_id": TEXT,
    "channels": CHANNELS,
    "filtered": TRUTH,
    "format": {"enum": ["json", "msgpack"]},
    "on_lag": {"enum": ["replay", "live"]},
}
CLIENT_MESSAGES = {
    "auth": message("auth", "Who is asking, where the handshake could not say.", token=TEXT),
    "subscribe": message(
        "subscribe",
        "Send a device's packets and news from now on. No `channels`: all; no `format`: JSON. "
        "`after_sequence` replays from the store what was missed, then goes live.",
        optional="channels filtered format on_lag after_sequence",
        **SUBSCRIPTION,
        after_sequence={"type": "integer", "minimum": -1},
    ),
    "unsubscribe": message("unsubscribe", "Send no more of a device.", device_id=TEXT),
    "marker": message(
        "marker",
        "Mark a moment; now, if no `timestamp` is given. Needs the scope `sessions:write`.",
        optional="value timestamp",
        device_id=TEXT,
        label={"type": "string", "minLength": 1, "maxLength": 200},
        value=ANY,
        timestamp=MILLISECONDS,
    ),
    "ping": message("ping", "Ask for the server's clock.", optional="time", time=ANY),
}
SERVER_MESSAGES = {
    "subscribed": message(
        "subscribed",
        "What is going to be sent.",
        **SUBSCRIPTION,
        stream_id=or_null(TEXT),
        status=TEXT,
        ch_names={"type": "array", "items": TEXT},
        sample_rate=NUMBER,
        filters=OBJECT,
        next_sequence=WHOLE,
    ),
    "unsubscribed": message("unsubscribed", "Nothing more is sent of it.", device_id=TEXT),
    "data": message(
        "data",
        "A packet: one row a sample, one column a channel, microvolts. With `msgpack` a binary "
        "frame with the same keys, `samples` being `{dtype, shape, data}`.",
        device_id=TEXT,
        stream_id=TEXT,
        sequence={"type": "integer", "description": "+1 a packet of the device, for ever."},
        timestamp=MILLISECONDS,
        first_sample=WHOLE,
        sample_rate=NUMBER,
        channels=CHANNELS,
        samples=ROWS,
    ),
    "gap": message(
        "gap",
        "Something is missing here, and why; never a made-up sample.",
        device_id=TEXT,
        stream_id=or_null(TEXT),
        reason=TEXT,
        from_sequence=or_null(WHOLE),
        to_sequence=or_null(WHOLE),
        first_sample=or_null(WHOLE),
        n_samples=or_null(WHOLE),
        replayed=TRUTH,
    ),
    "status": message(
        "status",
        "What happened to the device: `connected`, `disconnected`, `reconnecting`, "
        "`streaming_started`, `streaming_stopped`, `impedance_check`, `signal_quality`, "
        "`battery`, `packet_loss`, `recording_started`, `recording_stopped`.",
        device_id=TEXT,
        event=TEXT,
        data=OBJECT,
    ),
    "marker": message(
        "marker",
        "A sample was marked; `event_id` and `session_id` are told to who marked it.",
        optional="event_id session_id",
        device_id=TEXT,
        stream_id=TEXT,
        sample=or_null(WHOLE),
        timestamp=MILLISECONDS,
        label=TEXT,
        value=ANY,
        source=TEXT,
        event_id=or_null(TEXT),
        session_id=or_null(TEXT),
    ),
    "pong": message("pong", "The ping's own time, and the server's.", time=ANY, server_time=NUMBER),
    "error": message(
        "error",
        "Something is not done, in the envelope of the REST API.",
        error={
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {"code": TEXT, "message": TEXT, "details": OBJECT},
        },
    ),
}
WEBSOCKET = {
    "url": "/v1/stream",
    "description": "Live packets and news of devices. Messages are JSON objects in text frames.",
    "authentication": [
        "`Authorization: Bearer <access token>` in the handshake",
        "the subprotocol `neurascale.jwt.<access token>`",
        'the first message `{"type": "auth", "token": "<access token>"}`',
        "the portal's session, from the portal's own origin",
    ],
    "x-required-scopes": ["devices:read"],
    "client": CLIENT_MESSAGES,
    "server": SERVER_MESSAGES,
    "closeCodes": {
        "1012": "The server restarts: reconnect with `after_sequence`.",
        "4401": "Not authenticated.",
        "4403": "Not allowed.",
        "4404": "Unknown device.",
        "4408": "`auth` was not sent in time.",
        "4429": "Too many subscriptions.",
    },
}
DESCRIPTION = """\
The API of a NeuraScale lab: devices, live streams, recordings.

**Errors** are always `{"error": {"code", "message", "details", "request_id"}}`, on every path.

**Lists** are `{"<plural>": [...], "pagination": {"next", "previous", "total"}}`; follow `next`
to the end and nothing is shown twice or left out, though rows come and go.

**Limits** are told by `X-RateLimit-Limit`, `-Remaining` and `-Reset`; beyond them the answer is 429
with `Retry-After`. Wrong secrets are counted too, by address.

**Tags.** Every `GET` has an `ETag`: with `If-None-Match` the answer is 304 while it holds, and
with `If-Match` a change is made only if nobody made another one meanwhile. Bodies may be gzip,
both ways.

**Repetitions.** A `POST` with an `Idempotency-Key` is done once, however often it is sent; the
repetition is answered alike, with `Idempotent-Replayed: true`.

**Methods.** Whatever answers `GET` answers `HEAD` too, and every path answers `OPTIONS`; what it
answers to methods that it does not have, 405 with those it has in `Allow`, is described in its
`x-other-methods`.

**Times** are ISO 8601 with zone. **Channels** are numbered from 1. **Samples** are microvolts.
What a board does not report is `null`, never invented.

**WebSocket.** Live packets are sent over `/v1/stream`. Connect, say who you are (as with every
request: `Authorization: Bearer`), and send `{"type": "subscribe", "device_id": "dev_…"}`. The
messages are described in this document's `x-websocket`.
"""
TAGS = {
    "auth": "Tokens for programs.",
    "devices": "Boards, and what they do.",
    "ingest": "Samples from elsewhere.",
    "sessions": "Recordings, their events and their samples.",
    "studies": "What recordings belong to, and who sees them.",
    "subjects": "Who is recorded: pseudonyms, and their withdrawal.",
    "clients": "Programs that may use the API, and what they may do.",
    "graphql": "Several questions in one request, and changes; by `POST` only (`GET`: 405).",
    "audit": "What was done, by whom, when and from where.",
    "schema": "This document.",
    "docs": "This document, for people.",
    "redoc": "Likewise.",
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "NeuraScale API",
    "VERSION": __version__,
    "DESCRIPTION": DESCRIPTION,
    "LICENSE": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
    "SERVERS": [{"url": "/", "description": "The lab that serves this document."}],
    "TAGS": [{"name": name, "description": text} for name, text in TAGS.items()],
    "EXTENSIONS_ROOT": {"x-websocket": WEBSOCKET},
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "DEFAULT_GENERATOR_CLASS": "neurascale.core.openapi.schema.Generator",
    "POSTPROCESSING_HOOKS": ["neurascale.core.openapi.schema.finish"],
}
