"""An ASGI application that says how far it got, for the tests of the server."""

from __future__ import annotations

import asyncio
from collections import Counter

SLOW_SECONDS = 6.0  # longer than Autobahn and daphne would wait by themselves
PIECE = "x" * 10_000
counts: Counter[str] = Counter()
gate = asyncio.Event()


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        await send({"type": "websocket.accept"})
        await globals()[scope["path"].strip("/")](receive, send)
    elif scope["type"] == "http":
        counts["root"] = len(scope["root_path"])
        if scope["path"] == "/read":
            await read(receive)
        await answer(scope["path"], send)


async def echo(receive, send):
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", **{k: message[k] for k in message if k != "type"}})


slow = echo


async def flood(receive, send):
    """Send for ever."""

    async def pour():
        while True:
            await send({"type": "websocket.send", "text": PIECE})
            counts["sent"] += 1
            await asyncio.sleep(0)

    pouring = asyncio.ensure_future(pour())
    await receive()
    counts["disconnected"] += 1
    pouring.cancel()


async def deaf(receive, send):
    """Take no message before somebody asks for /open."""
    counts["deaf"] += 1
    await gate.wait()
    while (await receive())["type"] == "websocket.receive":
        counts["taken"] += 1


async def leave(receive, send):
    await send({"type": "websocket.close", "code": 1011, "reason": "went wrong"})


async def read(receive):
    """Take all of a body."""
    counts["read"] = 0
    while (message := await receive())["type"] == "http.request":
        counts["read"] += len(message["body"])
        if not message["more_body"]:
            return


async def answer(path, send):
    if path == "/open":
        gate.set()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/download":
        for _ in range(5000):
            await send({"type": "http.response.body", "body": PIECE.encode(), "more_body": True})
            counts["downloaded"] += 1
    if path == "/slow":
        counts["asleep"] += 1
        await asyncio.sleep(60)
    body = str(counts[path.strip("/")]).encode()
    await send({"type": "http.response.body", "body": body})
