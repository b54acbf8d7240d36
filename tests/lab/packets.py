"""Packets of a lab, as a subscriber is sent them."""

import contextlib
import json
import time

import httpx
import websockets
from websockets.sync.client import connect

from tests.waiting import wait_until


@contextlib.contextmanager
def subscribed(lab, device):
    """A socket that is sent the device's packets."""
    with lab.api() as api:
        token = api.headers["Authorization"]
    with connect(lab.ws_url, additional_headers={"Authorization": token}) as ws:
        ws.send(json.dumps({"type": "subscribe", "device_id": device, "channels": [1, 2]}))
        yield ws


def next_packet(ws, *, after=-1):
    """Return the next packet with a higher number."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = json.loads(ws.recv(timeout=60))
        if message["type"] == "data" and message["sequence"] > after:
            return message
    raise AssertionError(f"no packet after {after}")


def newest_packet(lab, device, *, after=-1):
    """Return a packet that is newer, however often the web server has to be asked."""

    def found():
        try:
            with subscribed(lab, device) as ws:
                return next_packet(ws, after=after)
        except (OSError, httpx.HTTPError, websockets.WebSocketException):
            return None

    return wait_until(found, seconds=90, what=f"a packet after {after}")
