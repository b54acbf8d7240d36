"""The audit log: who did what, and that nobody changes it unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, close_old_connections, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingest import tasks
from ingest.models import Segment, Stream
from neurascale.core import actor, audit
from neurascale.core.actor import Edge
from neurascale.core.audit import record, recorded, verify
from neurascale.core.audit_triggers import without_triggers
from neurascale.core.models import AppendOnlyError, AuditEntry, AuditHead, Client
from sessions_app.models import Session, Study
from sessions_app.services import create_client
from tests.ingest.factories import make_session, make_stream
from tests.ingest.rest import Program
from tests.machine import ROOT
from tests.web import database_url

pytestmark = pytest.mark.django_db

PASSWORD = "difference engine No. 2"
CHANGES = ["UPDATE core_auditentry SET verb = 'x'", "DELETE FROM core_auditentry"]
if connection.vendor == "postgresql":
    CHANGES.append("TRUNCATE core_auditentry")


def entries(**where: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(**where).order_by("sequence"))


def problems() -> list[str]:
    return verify().problems


def tamper(sql: str, *values: Any) -> None:
    """Do what somebody does who may write to the database and not read the key."""
    with without_triggers(connection), connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.fixture
def five() -> list[AuditEntry]:
    for number in range(5):
        record("thing.do", f"thing_{number}", n=number)
    return entries()


# --- What is in it -------------------------------------------------------------------------------


def test_an_entry_says_who_did_what_to_what_when_and_from_where():
    program = Program("admin")
    answer = program.http.post(
        "/v1/studies",
        {"name": "sleep"},
        content_type="application/json",
        headers={"X-Request-ID": "request-0001"},
    )
    (entry,) = entries(verb="study.create", request_id="request-0001")
    assert (entry.actor_kind, entry.actor_id) == ("client", program.client.public_id)
    assert entry.actor_name == program.client.name
    assert entry.object_id == entry.study_id == answer.json()["study_id"]
    assert entry.address == "127.0.0.1"


def test_who_is_nobody_yet_is_said_so():
    actor.enter(Edge("192.0.2.1"))
    record("thing.do", "thing")
    actor.leave()
    assert [(e.actor_kind, e.actor_id) for e in entries()] == [("nobody", "")]


def test_a_command_names_itself_and_the_account_that_ran_it(transactional_db):
    study = Study.objects.create(name="shared")
    asked = ["create_client", "--name", "N", "--study", study.public_id]
    environment = os.environ | {"DATABASE_URL": database_url()}
    subprocess.run(
        [sys.executable, "manage.py", *asked], cwd=ROOT, env=environment, check=True, timeout=60
    )
    (entry,) = entries()
    assert (entry.verb, entry.actor_kind, entry.address) == ("client.create", "system", "command")
    assert entry.actor_name.startswith("manage.py create_client by ")
    assert entry.study_id == study.public_id


def test_people_whom_commands_make_and_change_are_in_it(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", username="ada", email="", interactive=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSWORD[::-1])
    call_command("changepassword", username="ada", stdout=StringIO())
    assert User.objects.get().check_password(PASSWORD[::-1])
    noted = [(entry.verb, entry.object_id) for entry in entries()]
    assert noted == [("user.create", "ada"), ("user.change", "ada")]
    User.objects.create_user("grace")  # such as by a room of the portal, which notes it itself
    assert len(entries()) == 2


def test_a_task_names_itself_and_the_worker():
    stream = make_stream(wanted=Stream.Wanted.STOPPED, next_sample=1000)
    session = make_session(
        stream.device, status=Session.Status.ACTIVE, duration_minutes=500 / 250 / 60
    )
    Segment.objects.create(session=session, stream=stream, first_sample=0)
    done = tasks.reconcile.apply()
    actor.leave()  # a worker has a context for each task; here it is the test's own
    (entry,) = entries()
    assert (entry.verb, entry.object_id) == ("session.stop", session.public_id)
    assert (entry.actor_kind, entry.actor_id) == ("system", "ingest.tasks.reconcile")
    assert (entry.address, entry.request_id) == ("worker", done.id)


def test_no_secret_and_no_code_of_a_subject_is_in_it():
    new = create_client(name="trial", scopes=["operator"])
    told = "\n".join(str(entry.__dict__) for entry in entries())
    assert new.client_secret not in told
    assert Client.objects.get(pk=new.client.pk).secret_hash not in told


def test_what_was_rolled_back_is_not_in_it():
    def fail_after(thing: str) -> None:
        with recorded():
            record("thing.do", thing)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after("one")
    with recorded():
        record("thing.do", "two")
        with pytest.raises(ZeroDivisionError):
            fail_after("three")
    assert [entry.object_id for entry in entries()] == ["two"]
    assert not problems()


def test_entries_are_the_last_statements_of_a_transaction():
    """Else two transactions could wait for each other: one for the log, one for a row."""
    with (
        CaptureQueriesContext(
            connection,
        ) as queries,
        recorded(),
    ):
        record("thing.do", "one")
        with recorded():
            record("thing.do", "two")
        Study.objects.create(name="late")
    written = [q["sql"] for q in queries if "audit" in q["sql"] or "study" in q["sql"]]
    assert "sessions_app_study" in written[0]
    assert all("core_audit" in sql for sql in written[1:])


def statements_of_an_entry() -> list[str]:
    with CaptureQueriesContext(connection) as queries, recorded():
        record("thing.do", "thing")
    return [q["sql"].split()[0] for q in queries if "core_audit" in q["sql"]]


def test_an_entry_costs_two_statements_where_this_process_wrote_the_last():
    record("thing.do", "first")
    assert statements_of_an_entry() == ["UPDATE", "INSERT"]


def test_an_entry_follows_on_those_of_others(five, monkeypatch):
    """This process has left the chain after three; another one has written two since."""
    monkeypatch.setattr(audit._left, "end", (3, five[2].seal))
    assert statements_of_an_entry() == ["UPDATE", "SELECT", "UPDATE", "INSERT"]
    assert [entry.sequence for entry in entries()] == [1, 2, 3, 4, 5, 6]
    assert not problems()


def test_an_entry_follows_on_the_last_that_was_not_rolled_back(five):
    with transaction.atomic():
        record("thing.do", "undone")
        transaction.set_rollback(True)
    record("thing.do", "done")
    assert [entry.object_id for entry in entries()][4:] == ["thing_4", "done"]
    assert not problems()


# --- What cannot be done to it -------------------------------------------------------------------


def test_neither_a_row_nor_a_query_changes_or_deletes_it(five):
    for attempt in (
        five[0].save,
        five[0].delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(verb="x"),
        lambda: AuditEntry.objects.filter(pk=five[0].pk).update(verb="x"),
    ):
        with pytest.raises(AppendOnlyError):
            attempt()


@pytest.mark.parametrize("sql", CHANGES)
def test_the_database_refuses_it_too(five, sql):
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute(sql)
    assert len(entries()) == 5


# --- What is found -------------------------------------------------------------------------------


def test_a_log_as_it_was_written_has_no_problems(five):
    checked = verify()
    assert (checked.n_entries, checked.problems) == (5, [])
    assert checked.head == f"5:{five[-1].seal}"
    assert verify(noted=checked.head).problems == []


def test_an_empty_log_has_no_problems():
    assert verify().problems == []


@pytest.mark.parametrize(
    "change",
    [
        "verb = 'thing.see'",
        "object_id = 'thing_9'",
        "actor_id = 'cli_nobody'",
        "actor_kind = 'user'",
        "actor_name = 'Ada'",
        "address = '::1'",
        "request_id = 'req_1'",
        "study_id = 'study_1'",
        "public_id = 'aud_1'",
        "at = '2020-01-01 00:00:00'",
        """details = '{"n": 9}'""",
        f"seal = '{'a' * 64}'",
    ],
)
def test_a_row_that_was_altered_is_named(five, change):
    tamper(f"UPDATE core_auditentry SET {change} WHERE sequence = 3")
    assert any("Entry 3 " in problem for problem in problems())


def test_a_row_that_was_removed_is_named(five):
    tamper("DELETE FROM core_auditentry WHERE sequence = 3")
    assert problems() == ["Entry 3 is missing"]


def test_rows_that_were_removed_at_the_end_are_named(five):
    tamper("DELETE FROM core_auditentry WHERE sequence > 3")
    assert problems() == ["Entries 4-5 are missing"]


def test_all_rows_gone_is_seen(five):
    tamper("DELETE FROM core_auditentry")
    assert problems() == ["Entries 1-5 are missing"]


def test_moving_the_end_back_as_well_is_seen_by_its_mark(five):
    tamper("DELETE FROM core_auditentry WHERE sequence > 3")
    tamper("UPDATE core_audithead SET sequence = 3, seal = %s", five[2].seal)
    assert any("does not bear its mark" in problem for problem in problems())


def test_removing_the_end_is_seen_and_nothing_is_appended_any_more(five):
    tamper("DELETE FROM core_audithead")
    assert problems() == ["The row with the end of the log is gone"]
    with pytest.raises(DatabaseError), transaction.atomic():
        record("thing.do", "more")


def test_a_row_that_was_put_in_is_named(five):
    copied = "public_id || 'x', sequence + 3, at, actor_kind, actor_id, actor_name, address, "
    columns = "public_id, sequence, at, actor_kind, actor_id, actor_name, address, "
    rest = "request_id, verb, object_id, study_id, details, previous, seal"
    tamper(
        f"INSERT INTO core_auditentry ({columns}{rest}) "
        f"SELECT {copied}{rest} FROM core_auditentry WHERE sequence = 3"
    )
    found = problems()
    assert any("Entry 6 " in problem and "put in" in problem for problem in found)
    assert any("behind the end" in problem for problem in found)


@pytest.mark.parametrize("place", [0, -5])
def test_a_row_that_was_put_in_before_the_first_is_named(five, place):
    tamper(f"UPDATE core_auditentry SET sequence = {place} WHERE sequence = 5")
    assert any(f"Entry {place} " in problem for problem in problems())


def make_person() -> None:
    with recorded():
        record("user.create", User.objects.create_user("ada"))


def make_program() -> None:
    create_client(name="trial", scopes=["viewer"])


@pytest.mark.parametrize("make", [make_person, make_program])
def test_a_log_that_was_emptied_with_its_end_is_seen_and_so_is_a_new_one(transactional_db, make):
    with time_machine.travel(timezone.now() - timedelta(days=1)):
        make()
    assert problems() == []
    tamper("DELETE FROM core_auditentry")
    tamper("DELETE FROM core_audithead")
    assert any("begins nowhere" in problem for problem in problems())
    audit._left.end = None  # as another process, begun since
    with recorded():
        record("thing.do", "as if nothing had been")
    (problem,) = problems()
    assert "what was written of them is gone" in problem


def test_two_rows_that_changed_places_are_named(five):
    for before, after in ((3, 33), (4, 3), (33, 4)):
        tamper(f"UPDATE core_auditentry SET sequence = {after} WHERE sequence = {before}")
    found = problems()
    assert any("Entry 3 " in problem for problem in found)
    assert any("Entry 4 " in problem for problem in found)


def test_an_old_copy_of_everything_is_seen_by_a_head_that_was_noted(five):
    noted = verify().head
    head = AuditHead.objects.get()
    record("thing.do", "what somebody wants to be forgotten")
    later = verify(noted=noted)
    assert later.problems == []
    tamper("DELETE FROM core_auditentry WHERE sequence = 6")
    tamper(
        "UPDATE core_audithead SET sequence = %s, seal = %s, mark = %s",
        head.sequence,
        head.seal,
        head.mark,
    )
    assert verify().problems == []
    (problem,) = verify(noted=later.head).problems
    assert "noted head" in problem


def test_who_does_not_have_the_key_cannot_forge_a_chain(five, settings):
    settings.SECRET_KEY = "another"
    record("thing.do", "forged")
    settings.SECRET_KEY_FALLBACKS = ["yet another"]
    assert len(problems()) >= 5


def test_a_key_that_was_replaced_still_checks_what_it_sealed(five, settings):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    record("thing.do", "after")
    assert problems() == []


def test_the_command_prints_the_head_and_exits_with_1_if_something_is_wrong(five, capsys):
    call_command("verify_audit")
    printed = capsys.readouterr().out
    assert printed == f"5 entries, head 5:{five[-1].seal}\n"
    call_command("verify_audit", "--head", five[-1].seal)
    tamper("DELETE FROM core_auditentry WHERE sequence = 2")
    with pytest.raises(SystemExit) as ended:
        call_command("verify_audit")
    assert ended.value.code == 1
    assert "Entry 2 is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call_command("verify_audit", "--head", "0123")


def test_more_entries_than_are_read_at_once_are_checked(five, monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 2)
    assert verify().n_entries == 5
    assert not problems()


def test_those_who_write_at_once_make_one_chain(transactional_db):
    def write(number: int) -> None:
        try:
            for _ in range(5):
                with recorded():
                    Study.objects.create(name=f"study {number}")
                    record("thing.do", f"thing_{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    close_old_connections()
    checked = verify()
    assert (checked.n_entries, checked.problems) == (40, [])
