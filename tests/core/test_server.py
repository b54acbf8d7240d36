import base64
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import Mock
from urllib.request import Request, urlopen

import pytest
from twisted.internet.testing import StringTransportWithDisconnection
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from neurascale.core import http_channel
from neurascale.core.http_channel import HEAD_SECONDS, MAX_HEAD_BYTES, Channel
from tests.core.socket_app import PIECE
from tests.environment import spawn
from tests.machine import ROOT, answers_http, find_free_port
from tests.waiting import wait_until


class Running:
    def __init__(self, port, process):
        self.port, self.process = port, process

    def ws(self, path, **options):
        return connect(
            f"ws://127.0.0.1:{self.port}/{path}", compression=None, legacy=True, **options
        )

    def count(self, name):
        with urlopen(f"http://127.0.0.1:{self.port}/{name}") as answer:
            return int(answer.read())

    def memory_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def raw(self, head):
        """A connection that reads only when we say so, with little room in the kernel."""
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        peer.settimeout(10)
        peer.connect(("127.0.0.1", self.port))
        peer.sendall(head.encode() + b"\r\n\r\n")
        return peer

    def raw_ws(self, path):
        key = base64.b64encode(os.urandom(16)).decode()
        peer = self.raw(
            f"GET /{path} HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += peer.recv(1)
        assert b" 101 " in answer
        return peer

    def settled(self, name):
        """Wait until a count has not changed for a while, and return it."""
        seen = [-1]

        def has_settled():
            seen.append(self.count(name))
            return len(seen) > 20 and len(set(seen[-20:])) == 1

        wait_until(has_settled, what=f"{name} to settle, {seen[-5:]}")
        return seen[-1]


def send_until_held_up(peer):
    """Send 10 kB messages until the other side takes no more, and return how many went out."""
    frame = b"\x82\xfe\x27\x10\x00\x00\x00\x00" + b"x" * 10_000  # masked with zeros
    for n_sent in range(10_000):
        try:
            peer.sendall(frame)
        except TimeoutError:
            return n_sent
    return 10_000


def start(port, *options):
    command = [sys.executable, "-m", "neurascale.core.server", "--port", str(port), *options]
    return spawn([*command, "tests.core.socket_app:application"], cwd=ROOT, stderr=subprocess.PIPE)


@pytest.fixture
def server():
    port = find_free_port()
    process = start(port)
    wait_until(lambda: answers_http(port) or process.poll() is not None, what="the server")
    yield Running(port, process)
    process.kill()
    process.communicate()


def test_text_and_bytes_of_every_length_of_frame_come_back(server):
    with server.ws("echo") as ws:
        for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
            for message in ("µ" * (size // 2), b"\x00" * size):
                ws.send(message)
                assert ws.recv() == message


def test_who_sends_the_head_of_a_request_slowly_is_sent_away(monkeypatch):
    channel, transport = Channel(), StringTransportWithDisconnection()
    clock = itertools.count(step=HEAD_SECONDS / 4)
    monkeypatch.setattr(http_channel.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(http_channel.asyncio, "get_running_loop", Mock())
    transport.loseWriteConnection = Mock()
    transport.protocol = channel
    channel.transport = transport
    for _ in range(5):
        channel.dataReceived(b"x")
        assert not transport.value()
    channel.dataReceived(b"x")
    assert transport.value().startswith(b"HTTP/1.1 408 ")
    channel.setTimeout(None)


def test_an_application_may_take_its_time_before_it_accepts(server):
    with server.ws("slow", open_timeout=30) as ws:
        ws.send("hello")
        assert ws.recv(timeout=5) == "hello"


def test_a_line_without_end_is_answered_and_the_connection_ends(server):
    peer = server.raw("GET /" + "x" * (MAX_HEAD_BYTES + 10))
    answer = b""
    with peer:
        while piece := peer.recv(1000):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_is_read_up_to_the_limit_and_refused_beyond_it(is_chunked):
    def send(n_bytes):
        peer = HTTPConnection("127.0.0.1", port, timeout=30)
        body = (b"x" * 1000 for _ in range(n_bytes // 1000)) if is_chunked else b"x" * n_bytes
        peer.request("POST", "/read", body, encode_chunked=is_chunked)
        with closing(peer):
            response = peer.getresponse()
            return response, response.read()

    port = find_free_port()
    process = start(port, "--max-body", "50000")
    try:
        wait_until(lambda: answers_http(port) or process.poll() is not None, what="the server")
        response, body = send(45_000)  # chunks have a frame, which counts
        assert (response.status, body) == (200, b"45000")
        response, body = send(60_000)
        assert response.status == 413
        error = json.loads(body)["error"]
        assert (error["code"], error["details"]) == ("PAYLOAD_TOO_LARGE", {"limit_bytes": 50_000})
        assert error["request_id"] == response.getheader("X-Request-ID")
    finally:
        process.kill()
        process.communicate()


def test_a_body_that_nobody_takes_costs_no_memory(server):
    before = server.memory_mb()
    request = Request(f"http://127.0.0.1:{server.port}/", data=b"x" * 100_000_000)
    with urlopen(request) as answer:
        assert answer.status == 200
    assert server.memory_mb() < before + 20


def test_what_a_request_says_of_our_root_is_not_believed(server):
    request = Request(f"http://127.0.0.1:{server.port}/root", headers={"Daphne-Root-Path": "/evil"})
    with urlopen(request) as answer:
        assert answer.read() == b"0"


def test_a_peer_that_never_reads_holds_up_its_application_and_costs_little_memory(server):
    before = server.memory_mb()
    peer = server.raw_ws("flood")
    wait_until(lambda: server.count("sent"), what="the flood")
    held = server.settled("sent") * len(PIECE)
    assert held < 1_000_000  # the kernel's buffers, Twisted's, and nothing else
    assert server.memory_mb() < before + 10

    with server.ws("echo") as other:  # nobody else notices
        other.send("hello")
        assert other.recv(timeout=5) == "hello"

    sent = server.count("sent")
    read = 0
    while read < 2_000_000:
        read += len(peer.recv(65_536))
    assert server.count("sent") > sent + 50
    peer.close()
    wait_until(lambda: server.count("disconnected"), what="the application to learn of it")


def test_a_peer_that_goes_while_its_application_waits_for_room_sets_it_free(server):
    peer = server.raw_ws("flood")
    wait_until(lambda: server.count("sent"), what="the flood")
    server.settled("sent")
    peer.close()
    wait_until(lambda: server.count("disconnected") == 1, what="the application to learn of it")


def test_an_application_that_takes_no_messages_is_not_given_them_without_end(server):
    peer = server.raw_ws("deaf")
    wait_until(lambda: server.count("deaf"), what="the deaf application")
    before = server.memory_mb()
    peer.settimeout(1)
    n_sent = send_until_held_up(peer)
    assert 0 < n_sent < 2_000
    assert server.memory_mb() < before + 20
    server.count("open")
    wait_until(lambda: server.count("taken") >= n_sent, what="what was held back")
    peer.close()


def test_a_download_waits_for_its_reader(server):
    peer = server.raw("GET /download HTTP/1.0")
    wait_until(lambda: server.count("downloaded"), what="the download")
    assert server.settled("downloaded") * len(PIECE) < 8_000_000
    size = 0
    while piece := peer.recv(65_536):
        size += len(piece)
    assert size > 5000 * len(PIECE)
    peer.close()


def test_a_message_beyond_a_mebibyte_is_refused(server):
    with server.ws("echo") as ws:
        ws.send("x" * (2**20 + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            ws.recv(timeout=5)
        assert closed.value.rcvd.code == 1009


def test_an_application_may_close_with_any_code_and_say_why(server):
    with server.ws("leave") as ws, pytest.raises(ConnectionClosedError) as closed:
        ws.recv(timeout=5)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "went wrong")


def test_a_peer_may_take_a_while_to_answer_a_close_and_is_cut_off_if_it_never_does(server):
    with server.raw_ws("leave") as slow, server.raw_ws("leave") as silent:
        time.sleep(1.5)
        slow.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xf3")  # fails once the line is cut
        for peer in (slow, silent):
            assert peer.recv(100) == b"\x88\x0c\x03\xf3went wrong"
        with pytest.raises(ConnectionResetError):
            silent.recv(1)


def test_sigterm_tells_every_socket_that_the_server_restarts_and_ends_in_three_seconds(server):
    never_reads = server.raw_ws("flood")
    server.settled("sent")
    slow = server.raw("GET /slow HTTP/1.1\r\nHost: lab")
    wait_until(lambda: server.count("asleep"), what="the slow request")
    sockets = [server.ws("echo") for _ in range(20)]
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    for ws in sockets:
        with pytest.raises(ConnectionClosedError) as closed:
            ws.recv(timeout=5)
        assert closed.value.rcvd.code == 1012
    assert server.process.wait(5) == 0
    assert time.monotonic() - began < 3.5
    never_reads.close()
    slow.close()


def test_a_port_that_is_taken_is_a_failure(server):
    second = start(server.port)
    _, said = second.communicate(timeout=30)
    assert second.returncode == 1
    assert b"Address already in use" in said
