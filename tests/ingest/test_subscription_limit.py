"""A hundred subscriptions a client, over two web processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import pytest

from tests.ingest.factories import make_device
from tests.ingest.test_consumers import Socket, connect, make_token
from tests.waiting import wait_until
from tests.web import serve

pytestmark = pytest.mark.django_db(transaction=True)


class Watcher:
    """A client that opens one socket after another."""

    def __init__(self, stack: ExitStack) -> None:
        self.headers = {"Authorization": f"Bearer {make_token()}"}
        self.device_id = make_device().public_id
        self.stack = stack

    def subscribe(self, server):
        """Open a socket and subscribe; return it and what was answered."""
        ws = connect(server.ws_url, additional_headers=self.headers, compression=None, legacy=True)
        socket = Socket(self.stack.enter_context(ws))
        return socket, socket.ask(type="subscribe", device_id=self.device_id)

    def is_let_in(self, server):
        """Subscribe once more; tell whether that was allowed. Who is not is sent away."""
        socket, answer = self.subscribe(server)
        if answer["type"] == "subscribed":
            return True
        assert answer["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert answer["error"]["details"]["limit"] == 100
        assert socket.closed() == 4429
        return False


@pytest.mark.long
def test_two_processes_count_together_and_a_killed_one_gives_back_its_share(tmp_path):
    with ExitStack() as stack:
        one, other = (stack.enter_context(serve(tmp_path / "web.log")) for _ in range(2))
        watcher = Watcher(stack)
        opened = [watcher.subscribe((one, other)[n % 2]) for n in range(100)]
        assert {answer["type"] for _, answer in opened} == {"subscribed"}
        assert not watcher.is_let_in(one)
        assert not watcher.is_let_in(other)
        assert Watcher(stack).is_let_in(other)  # somebody else

        left, _ = opened[0]
        left.ask(type="unsubscribe", device_id=watcher.device_id)
        wait_until(lambda: watcher.is_let_in(other), seconds=5, what="the seat that was left")

        os.kill(one.process.pid, signal.SIGKILL)
        one.process.wait()
        began = time.monotonic()
        n_free = 0
        while watcher.is_let_in(other):
            n_free += 1
        assert n_free == 49  # 50 were in the process, and one was left before
        assert not watcher.is_let_in(other)
        assert time.monotonic() - began < 30
