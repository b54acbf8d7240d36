"""What can be known of a port without opening it."""

from __future__ import annotations

import fcntl
import json
import os
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings

from devices.management.commands.list_ports import line_of
from devices.ports import PortFacts, facts_of, find_again, holder_of, list_ports, shorten_latency


@pytest.fixture
def run_dir(tmp_path: Path):
    """Return a folder with the link of a virtual board, as the virtual board leaves it."""
    master, slave = os.openpty()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "virtual-cyton").symlink_to(os.ttyname(slave))
    (folder / "stale").symlink_to("/dev/pts/gone")
    (folder / "valkey.sock").touch()
    yield folder
    os.close(master)
    os.close(slave)


def virtual(run_dir: Path) -> list[PortFacts]:
    return [facts for facts in list_ports(run_dir=run_dir) if facts.is_virtual]


def test_a_virtual_board_is_found_by_its_link(run_dir):
    (facts,) = virtual(run_dir)
    assert facts.port == str(run_dir / "virtual-cyton")
    assert facts.board == "cyton"
    assert not facts.is_busy


def test_a_daisy_is_guessed_by_its_name(run_dir):
    (run_dir / "virtual-cyton").rename(run_dir / "virtual-cyton-daisy")
    assert [facts.board for facts in virtual(run_dir)] == ["cyton_daisy"]


def test_a_locked_port_is_busy_and_names_who_has_it(run_dir):
    port = os.open(run_dir / "virtual-cyton", os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(port, fcntl.LOCK_EX)
    (facts,) = virtual(run_dir)
    assert facts.is_busy
    assert facts.held_by == "this very process"
    os.close(port)
    assert not virtual(run_dir)[0].is_busy


def test_a_port_that_is_open_without_a_lock_has_a_holder_too(run_dir):
    link = str(run_dir / "virtual-cyton")
    assert holder_of(link, look_at_files=False) is None
    assert holder_of(link) == "this very process"
    assert holder_of("/dev/no-such-port") is None


def test_without_a_folder_there_are_no_virtual_boards(run_dir):
    assert not [facts for facts in list_ports() if facts.is_virtual]
    assert list_ports(run_dir=run_dir / "nowhere") == list_ports()


def test_an_unknown_port_has_a_name_at_least():
    assert facts_of("/dev/no-such-port") == PortFacts("/dev/no-such-port", "no-such-port")


def test_an_adapter_that_is_not_there_is_looked_for_where_it_was():
    lost = PortFacts("/dev/ttyUSB77", "x", serial_number="DN00A", vid=0x0403, pid=0x6015)
    assert find_again(lost) == "/dev/ttyUSB77"


def sysfs_with_timer(tmp_path: Path) -> Path:
    timer = tmp_path / "class" / "tty" / "ttyUSB0" / "device" / "latency_timer"
    timer.parent.mkdir(parents=True)
    return timer


def test_the_latency_timer_is_set_to_one_millisecond(tmp_path):
    timer = sysfs_with_timer(tmp_path)
    timer.write_text("16\n")
    found = shorten_latency("/dev/ttyUSB0", sysfs=tmp_path)
    assert (found.milliseconds, found.note) == (1, "")
    assert timer.read_text() == "1"


READ_ONLY_NUMBER = Path("/sys/class/net/lo/type")  # 772, and not even root may write it


@pytest.mark.skipif(not READ_ONLY_NUMBER.exists(), reason="sysfs is not mounted")
def test_a_timer_that_may_not_be_set_is_said_with_the_rule_that_helps(tmp_path):
    sysfs_with_timer(tmp_path).symlink_to(READ_ONLY_NUMBER)
    found = shorten_latency("/dev/ttyUSB0", sysfs=tmp_path)
    assert found.milliseconds == 772
    assert "latency_timer" in found.note
    assert "udev" in found.note


def test_a_port_without_a_timer_has_none(tmp_path):
    assert shorten_latency("/dev/ttyUSB0", sysfs=tmp_path).milliseconds is None


def test_the_command_lists_ports_for_people_and_programs(run_dir):
    with override_settings(RUN_DIR=run_dir):
        people, programs = StringIO(), StringIO()
        call_command("list_ports", stdout=people)
        call_command("list_ports", "--json", stdout=programs)
    assert "virtual-cyton" in people.getvalue()
    assert "perhaps cyton" in people.getvalue()
    (found,) = [facts for facts in json.loads(programs.getvalue()) if facts["is_virtual"]]
    assert found["port"] == str(run_dir / "virtual-cyton")


def test_a_line_says_who_uses_the_port():
    facts = PortFacts("/dev/ttyUSB0", "FT231X", vid=0x403, pid=0x6015, is_busy=True, held_by="x")
    assert line_of(facts) == "/dev/ttyUSB0  0403:6015  -  FT231X  in use by x"
