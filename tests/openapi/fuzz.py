"""schemathesis set up for this API: where real ids come from, and what is to be checked."""

from __future__ import annotations

import io
import os
from ipaddress import ip_network
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from devices.models import Device
from ingest.arrays import ARROW, NPY
from ingest.models import Stream
from ingest.submission import MAX_CHANNELS, MAX_ID_LENGTH
from neurascale.core.auth import issue_tokens
from neurascale.core.models import Client, KeptAnswer
from neurascale.core.openapi.schema import document
from sessions_app.models import Session, Study, Subject, Withdrawal
from sessions_app.services import create_client
from tests.ingest.factories import make_device, make_stream

EXAMPLES = int(os.environ.get("NEURASCALE_FUZZ_EXAMPLES", "5"))  # an operation; more finds more
REFUSING = {"If-Match", "Content-Encoding"}  # no tag is right by chance, and no body is gzip
CONFIG = {
    "seed": int(os.environ.get("NEURASCALE_FUZZ_SEED", "0")),  # the same requests in each run
    "checks": {
        # 503 is what a device is answered with that does not answer; 500 is a bug.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
        "negative_data_rejection": {
            "expected-statuses": [
                *("400", "401", "403", "404", "406", "409", "412"),
                *("413", "414", "415", "429", "431", "503"),
            ]
        },
        # What a board cannot do is told with 400, though the schema cannot know it.
        "positive_data_acceptance": {"enabled": False},
    },
}
# Ids of rows that are there in every test, so that more is met than 404.
THERE = {
    "device_id": "dev_aaaaaaaaaaaaaaaa",
    "session_id": "sess_aaaaaaaaaaaaaaaa",
    "study_id": "study_aaaaaaaaaaaaaaaa",
    "subject_id": "subj_aaaaaaaaaaaaaaaa",
    "client_id": "cli_aaaaaaaaaaaaaaaa",
}
# Nobody is limited, and whoever sends wrong secrets does so from another address each time.
ENVIRONMENT = {
    "NEURASCALE_ANSWER_SECONDS": "0.05",  # no board will answer
    "NEURASCALE_LIMIT_STANDARD": "1000000/hour",
    "NEURASCALE_LIMIT_BULK": "1000000/hour",
    "NEURASCALE_TRUSTED_PROXIES": "1",
}
ADDRESSES = map(str, ip_network("198.18.0.0/15").hosts())  # for tests of networks (RFC 2544)


def load() -> schemathesis.BaseSchema:
    """Return the API's schema as schemathesis sees it."""
    own = orjson.loads(orjson.dumps(document()))  # schemathesis adds links of its own to it
    return schemathesis.openapi.from_dict(own, config=SchemathesisConfig.from_dict(CONFIG))


def operations(schema: schemathesis.BaseSchema) -> list[str]:
    """Return the ids of all that the API can be asked."""
    asked = [
        operation["operationId"]
        for path in schema.raw_schema["paths"].values()
        for method, operation in path.items()
        if method in {"get", "post", "put", "patch", "delete", "head", "options"}
    ]
    assert len(asked) == len(set(asked)) > 40
    return asked


def furnish() -> dict[str, str]:
    """Return the headers of a client that may do everything, in a lab that is as it was before.

    Whatever was left behind would make the next run another one.
    """
    for model in (Session, Device, Withdrawal, Subject, Study, Client, KeptAnswer):
        model.objects.all().delete()
    study = Study.objects.create(public_id=THERE["study_id"], name="fuzz")
    client = create_client(name="fuzz", scopes=["admin"], study=study).client
    other = create_client(name="another", scopes=["viewer"], study=study).client
    Client.objects.filter(pk=other.pk).update(public_id=THERE["client_id"])
    subject = Subject.objects.create(public_id=THERE["subject_id"], study=study, code_hash="S001")
    device = make_device(public_id=THERE["device_id"], name="OpenBCI Cyton")
    Session.objects.create(
        public_id=THERE["session_id"], study=study, device=device, subject=subject
    )
    make_stream(device, state=Stream.State.STOPPED, wanted=Stream.Wanted.STOPPED)
    return {"Authorization": f"Bearer {issue_tokens(client)['access_token']}"}


@schemathesis.hook
def map_headers(context: Any, value: dict[str, Any] | None) -> dict[str, Any]:
    """Leave out what refuses most requests, and come from somewhere else."""
    given = {**(value or {}), "X-Forwarded-For": next(ADDRESSES)}
    if len(given.get("X-Request-ID", "")) % 2 == 0:
        given = {name: text for name, text in given.items() if name not in REFUSING}
    return given


@schemathesis.hook
def map_path_parameters(context: Any, value: dict[str, Any]) -> dict[str, Any]:
    """Put a real id in the place of every other made-up one."""
    return with_real_ids(value)


@schemathesis.hook
def map_body(context: Any, value: Any) -> Any:
    """Likewise; and leave out most of what a schema cannot know to be wrong."""
    if not isinstance(value, dict):
        return value
    data = value.get("data")
    if isinstance(data, dict) and isinstance(data.get("eeg"), list):
        value = value | {"data": data | with_channels(data)}
    guessed = {"settings": dict}
    return with_real_ids(
        {
            name: given
            for name, given in value.items()
            if not isinstance(given, guessed.get(name, ())) or len(given) > MAX_ID_LENGTH
        }
    )


def with_real_ids(value: Any) -> Any:
    """Return fields with real ids for those of their values that have an even length."""
    if not value:
        return value
    return {
        name: THERE[name] if name in THERE and is_even(given) else given
        for name, given in value.items()
    }


def with_channels(data: dict[str, Any]) -> dict[str, Any]:
    """Return samples for the eight channels of the device, if they were samples at all."""
    rows = data["eeg"]
    if not rows or not all(isinstance(row, list) and row for row in rows):
        return {}
    if not all(type(sample) in {int, float} for row in rows for sample in row):
        return {}
    n_channels = data.get("channels")
    if type(n_channels) is not int or not 1 <= n_channels <= MAX_CHANNELS:
        return {}
    return {"eeg": [rows[0]] * 8, "channels": 8}


def is_even(value: Any) -> bool:
    """Tell whether a text has an even length, and could be an id."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and len(value) % 2 == 0


def npy(data: np.ndarray) -> bytes:
    """Return a .npy file."""
    file = io.BytesIO()
    np.save(file, data)
    return file.getvalue()


def arrow(data: np.ndarray) -> bytes:
    """Return an Arrow IPC stream with a column a channel."""
    batch = pa.record_batch(list(data), names=[f"EEG{n}" for n in range(len(data))])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


SAMPLES = st.integers(1, 20).map(lambda n: np.arange(8 * n, dtype=np.float32).reshape(8, n))
schemathesis.openapi.media_type(NPY, SAMPLES.map(npy))
schemathesis.openapi.media_type(ARROW, SAMPLES.map(arrow))
