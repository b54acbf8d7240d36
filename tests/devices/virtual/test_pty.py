import os
import select
import subprocess
import sys

import pytest
import serial

from devices.errors import PortBusyError
from devices.virtual.pty import Claim, PseudoTerminal

FRAME = bytes([0xA0, *range(31), 0xC0])


@pytest.fixture
def terminal(tmp_path):
    terminal = PseudoTerminal(tmp_path / "port")
    terminal.plug()
    yield terminal
    terminal.unplug()


@pytest.fixture
def host(terminal):
    """Something outside this process that can have the port open, as a lab has."""
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(terminal.link)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield lambda command: ask(process, command)
        process.stdin.close()


HOST = """
import os, sys
for line in sys.stdin:
    if line == "open\\n":
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    elif line == "close\\n":
        os.close(fd)
    elif line == "read\\n":
        os.set_blocking(fd, False)
        data = b""
        try:
            while True: data += os.read(fd, 4096)
        except BlockingIOError: pass
        print(data.hex())
    print("done", flush=True)
"""


def ask(process, command: str) -> bytes:
    process.stdin.write(command.encode() + b"\n")
    process.stdin.flush()
    data = process.stdout.readline()
    if command == "read":
        process.stdout.readline()
        return bytes.fromhex(data.decode())
    return data


def notice(terminal) -> None:
    """Take what the kernel has told of the port by now."""
    assert select.select([terminal.listeners_fileno()], [], [], 10)[0]
    terminal.update_listeners()


def test_the_link_leads_to_a_raw_terminal(terminal):
    with serial.Serial(str(terminal.link), 115200, timeout=10) as port:
        notice(terminal)
        everything = bytes(range(256))
        assert terminal.write(everything) == 1
        assert port.read(256) == everything
        port.write(everything)
        assert select.select([terminal.fileno()], [], [], 10)[0]
        assert terminal.read() == everything


def test_a_board_knows_whether_anybody_listens(terminal, host):
    assert not terminal.heard
    host("open")
    notice(terminal)
    assert terminal.heard
    host("close")
    notice(terminal)
    assert not terminal.heard


def test_one_of_two_listeners_may_go(terminal, host):
    host("open")
    notice(terminal)
    ours = os.open(terminal.link, os.O_RDWR | os.O_NOCTTY)
    notice(terminal)
    os.close(ours)
    notice(terminal)
    assert terminal.heard


def test_who_opens_the_port_does_not_get_what_another_left_unread(terminal, host):
    host("open")
    notice(terminal)
    terminal.write(*[FRAME] * 100)
    host("close")
    notice(terminal)
    host("open")
    notice(terminal)
    terminal.write(b"fresh")
    assert host("read") == b"fresh"


def test_what_does_not_fit_is_refused_in_whole_frames(terminal, host):
    host("open")
    notice(terminal)
    n_taken = 0
    while (n := terminal.write(*[FRAME] * 50)) == 50:
        n_taken += n
    n_taken += n
    assert terminal.write(FRAME) == 0
    received = host("read")
    terminal.write()  # the rest of a frame that fitted in part
    received += host("read")
    assert received == FRAME * n_taken
    assert terminal.write(FRAME) == 1


def test_a_port_that_is_unplugged_hangs_up_and_comes_back_under_the_same_name(terminal):
    ours = os.open(terminal.link, os.O_RDWR | os.O_NOCTTY)
    terminal.unplug()
    assert not terminal.link.is_symlink()
    assert os.read(ours, 10) == b""  # hung up
    os.close(ours)
    terminal.plug()
    assert os.readlink(terminal.link) == terminal.name


def test_a_stale_link_is_taken_over(tmp_path):
    link = tmp_path / "port"
    link.symlink_to("/dev/pts/does-not-exist")
    claim = Claim(link)
    terminal = PseudoTerminal(link)
    terminal.plug()
    assert os.readlink(link) == terminal.name
    terminal.unplug()
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_somebody_took_over_is_not_removed(tmp_path):
    one, two = PseudoTerminal(tmp_path / "port"), PseudoTerminal(tmp_path / "port")
    one.plug()
    two.plug()
    one.unplug()
    assert os.readlink(tmp_path / "port") == two.name
    two.unplug()


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "port").write_text("precious")
    with pytest.raises(PortBusyError, match="not a symbolic link"):
        Claim(tmp_path / "port")
    assert (tmp_path / "port").read_text() == "precious"


def test_two_boards_cannot_have_one_name(tmp_path, monkeypatch):
    monkeypatch.setattr("devices.virtual.pty.CLAIM_SECONDS", 0.05)
    claim = Claim(tmp_path / "port")
    with pytest.raises(PortBusyError, match=f"process {os.getpid()}"):
        Claim(tmp_path / "port")
    claim.release()
    Claim(tmp_path / "port").release()
