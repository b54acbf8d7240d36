"""Clients, studies and subjects: rows and who may see them."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import CommandError, call_command

from devices.models import Device
from neurascale.core.auth import ROLES, authenticate_token, issue_tokens, scopes_of
from neurascale.core.credentials import authenticate_client, split_api_key
from neurascale.core.errors import InvalidError
from neurascale.core.models import Client
from sessions_app.errors import InvalidSessionIdError, InvalidStudyIdError, SessionStateError
from sessions_app.models import Session, Study
from sessions_app.services import (
    add_member,
    create_client,
    create_session,
    find_subject,
    get_session,
    remove_member,
    visible_sessions,
    visible_studies,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def device() -> Device:
    return Device.objects.create(name="Cyton", board="cyton", port="/dev/ttyUSB0")


def test_a_new_client_has_a_study_of_its_own():
    client = create_client(name="trial", scopes=["viewer"]).client
    assert [study.name for study in client.studies.all()] == ["trial"]


def test_a_client_can_join_a_study_that_there_is():
    study = Study.objects.create(name="shared")
    client = create_client(name="trial", scopes=["viewer"], study=study).client
    assert list(client.studies.all()) == [study]
    assert Study.objects.count() == 1


def test_a_client_with_an_unknown_scope_is_not_made():
    with pytest.raises(InvalidError, match="'devices:eat' is neither"):
        create_client(name="trial", scopes=["devices:eat"])
    assert not Client.objects.exists()
    assert not Study.objects.exists()


def test_id_and_secret_are_in_the_api_key():
    new = create_client(name="trial", scopes=["viewer"])
    assert split_api_key(new.api_key) == (new.client_id, new.client_secret)
    assert authenticate_client(new.client_id, new.client_secret) == new.client


# --- The command ---------------------------------------------------------------------------------


def test_the_command_prints_what_a_program_needs_and_it_works(capsys):
    call_command("create_client", "--name", "N", "--scopes", "operator", "models:read", "--json")
    told = json.loads(capsys.readouterr().out)
    client = authenticate_client(told["client_id"], told["client_secret"])
    assert split_api_key(told["api_key"]) == (told["client_id"], told["client_secret"])
    assert told["study_id"] == client.studies.get().public_id
    token = issue_tokens(client)["access_token"]
    assert scopes_of(authenticate_token(token)) == ROLES["operator"]


def test_the_command_gives_people_lines_and_all_scopes_when_asked(capsys):
    call_command("create_client", "--name", "boss", "--scopes", "all")
    told = capsys.readouterr().out
    client = Client.objects.get()
    assert f"client_id      {client.public_id}" in told
    assert "not shown again" in told
    assert set(client.scopes) == ROLES["admin"]


def test_the_command_puts_a_client_into_a_study(capsys):
    study = Study.objects.create(name="shared")
    call_command("create_client", "--name", "N", "--study", study.public_id, "--json")
    assert json.loads(capsys.readouterr().out)["study_id"] == study.public_id


def test_the_command_says_what_is_wrong():
    with pytest.raises(CommandError, match="no study study_x"):
        call_command("create_client", "--name", "N", "--study", "study_x")
    with pytest.raises(CommandError, match=r"'root' is neither .* viewer, operator"):
        call_command("create_client", "--name", "N", "--scopes", "root")


# --- Who sees what -------------------------------------------------------------------------------


def test_a_session_is_seen_by_the_members_of_its_study_and_by_staff(device):
    ours = create_client(name="ours", scopes=["viewer"]).client
    theirs = create_client(name="theirs", scopes=["all"]).client
    session = create_session(principal=ours, device=device)
    assert get_session(ours, session.public_id) == session
    assert get_session(User(is_staff=True), session.public_id) == session
    for nobody in (theirs, User(), User(is_staff=True, is_active=False), AnonymousUser(), None):
        assert not visible_sessions(nobody).exists()
        with pytest.raises(InvalidSessionIdError):
            get_session(nobody, session.public_id)
    assert not visible_studies(User()).exists()


def test_a_clients_session_goes_to_the_study_it_was_made_with(device):
    admin = create_client(name="trial", scopes=["all"]).client
    home = admin.studies.get()
    for name in ("a new client", "another"):
        create_client(name=name, scopes=["operator"], principal=admin)  # admin is in theirs too
    session = create_session(principal=admin, device=device)
    assert (session.study, session.created_by) == (home, admin)
    theirs = admin.studies.exclude(pk=home.pk).first()
    assert create_session(principal=admin, device=device, study=theirs).study == theirs


def test_a_client_that_left_its_home_records_into_the_study_it_is_in_the_longest_now(device):
    client = create_client(name="trial", scopes=["operator"]).client
    home = client.studies.get()
    second, third = (Study.objects.create(name=name) for name in ("b", "a"))
    for study in (second, third):
        add_member(study=study, client=client)
    remove_member(study=home, client=client)
    add_member(study=home, client=client)
    assert create_session(principal=client, device=device).study == second


def test_a_person_who_sees_several_studies_has_to_name_one(device):
    staff = User.objects.create_user("staff", is_staff=True)
    only = Study.objects.create(name="first")
    assert create_session(principal=staff, device=device).study == only
    second = Study.objects.create(name="second")
    with pytest.raises(InvalidError, match="several studies") as raised:
        create_session(principal=staff, device=device)
    assert "study_id" in raised.value.details["fields"]
    assert create_session(principal=staff, device=device, study=second).study == second


def test_a_session_cannot_go_to_a_study_one_does_not_see(device):
    client = create_client(name="trial", scopes=["all"]).client
    foreign = Study.objects.create(name="foreign")
    with pytest.raises(InvalidStudyIdError):
        create_session(principal=client, device=device, study=foreign)


def test_a_person_creates_sessions_without_being_a_client(device):
    study = Study.objects.create(name="shared")
    session = create_session(principal=User(is_staff=True), device=device, study=study)
    assert session.created_by is None


# --- Subjects ------------------------------------------------------------------------------------


def test_a_code_is_one_subject_in_one_study_and_another_in_another():
    here, there = Study.objects.create(name="here"), Study.objects.create(name="there")
    first = find_subject(study=here, code="P07")
    assert find_subject(study=here, code="P07") == first
    assert find_subject(study=here, code="P08") != first
    elsewhere = find_subject(study=there, code="P07")
    assert elsewhere.code_hash != first.code_hash


def test_only_a_keyed_hash_of_the_code_is_kept():
    subject = find_subject(study=Study.objects.create(name="here"), code="P07")
    assert "P07" not in json.dumps(subject.__dict__, default=str)
    assert len(subject.code_hash) == 64


def test_a_pseudonym_names_its_subject_in_its_own_study_only():
    here, there = Study.objects.create(name="here"), Study.objects.create(name="there")
    subject = find_subject(study=here, code="P07")
    assert find_subject(study=here, code=subject.public_id) == subject
    assert find_subject(study=there, code=subject.public_id) != subject


# --- The life of a session -----------------------------------------------------------------------

STEPS = {
    "created": {"active", "failed"},
    "active": {"paused", "completed", "failed"},
    "paused": {"active", "completed", "failed"},
    "completed": set(),
    "failed": set(),
}


@pytest.mark.parametrize("status", STEPS)
@pytest.mark.parametrize("wanted", ["active", "paused", "completed", "failed"])
def test_a_session_takes_only_the_steps_of_its_life_cycle(device, status, wanted):
    session = Session.objects.create(
        study=Study.objects.create(name="s"), device=device, status=status
    )
    if wanted in STEPS[status]:
        session.move_to(Session.Status(wanted))
    else:
        with pytest.raises(SessionStateError, match=f"is {status} and cannot become {wanted}"):
            session.move_to(Session.Status(wanted))
    session.refresh_from_db()
    assert session.status == (wanted if wanted in STEPS[status] else status)


def test_a_session_knows_when_it_began_and_ended(device):
    session = Session.objects.create(study=Study.objects.create(name="s"), device=device)
    session.move_to(Session.Status.ACTIVE)
    began = session.start_time
    session.move_to(Session.Status.PAUSED)
    session.move_to(Session.Status.ACTIVE)
    session.move_to(Session.Status.COMPLETED)
    session.refresh_from_db()
    assert session.start_time == began
    assert session.end_time > began
