"""Studies, members, subjects, clients and the audit log: as REST has them, secrets shown once."""

from __future__ import annotations

import orjson
import pytest
import strawberry
from django.test import Client as Browser

from neurascale.core.auth import ROLES
from neurascale.core.graphql.inputs import filter_of
from neurascale.core.models import AuditEntry, Client, KeptAnswer, make_public_id
from sessions_app.models import Study
from sessions_app.services import create_client, find_subject
from tests.graphql.asking import ask, in_rest_names, post, refused
from tests.graphql.test_queries import everything, without_id
from tests.ingest.factories import make_device
from tests.ingest.rest import Program, error_of

pytestmark = pytest.mark.django_db

SECRET = "client { clientId name scopes } clientId clientSecret apiKey"
CREATE = f"mutation($input: NewClient!) {{ createClient(input: $input) {{ {SECRET} }} }}"
ROTATE = f"mutation($id: ID!) {{ rotateClient(id: $id) {{ {SECRET} }} }}"


@pytest.fixture
def program():
    return Program("admin")


def grant(client_id, secret):
    asked = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secret,
    }
    return Browser().post("/v1/auth/token", asked, content_type="application/json").status_code


def listed(program, name, kind, more=""):
    query = f"{{ {name} {{ totalCount nodes {{ {everything(kind)} {more} }} }} }}"
    return ask(program, query)[name]


# --- the same as REST ----------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [False, True])
def test_subjects_are_what_rest_says_of_them(program, keeps):
    study = program.study
    Study.objects.update(keeps_subject_codes=keeps)
    study.refresh_from_db()
    subjects = [find_subject(study=study, code=code) for code in ("S01", "S02", "S03")]
    for n_sessions, subject in enumerate(subjects):
        for _ in range(n_sessions):
            program.make_session(make_device(), subject=subject)
    told = listed(program, "subjects", "Subject", "study { name }")
    rest = program.get("subjects").json()
    assert {node.pop("study")["name"] for node in told["nodes"]} == {study.name}
    assert in_rest_names([without_id(node) for node in told["nodes"]]) == rest["subjects"]
    assert [row["sessions"] for row in rest["subjects"]] == [0, 1, 2]
    assert [row["code"] for row in rest["subjects"]] == (
        ["S01", "S02", "S03"] if keeps else [None] * 3
    )
    query = f"""{{ studies {{ nodes {{ subjects(first: 2) {{ totalCount nodes {{
        {everything("Subject")} }} }} }} }} sessions {{ nodes {{ subject {{
        subjectId sessions study {{ name }} }} }} }} }}"""
    data = ask(program, query)
    (within,) = data["studies"]["nodes"]
    assert within["subjects"]["totalCount"] == 3
    assert (
        in_rest_names([without_id(n) for n in within["subjects"]["nodes"]])
        == (rest["subjects"][:2])
    )
    assert {node["subject"]["sessions"] for node in data["sessions"]["nodes"]} == {1, 2}
    one = ask(program, f'{{ subject(id: "{subjects[0].public_id}") {{ subjectId }} }}')
    assert one["subject"]["subjectId"] == subjects[0].public_id


def test_a_session_without_a_subject_says_so(program):
    program.make_session(make_device())
    told = ask(program, "{ sessions { nodes { subjectId subject { subjectId } } } }")
    assert told["sessions"]["nodes"] == [{"subjectId": None, "subject": None}]


def test_clients_and_members_are_what_rest_says_of_them(program):
    create_client(name="other", scopes=["viewer"], study=program.study)
    told = listed(program, "clients", "Client")
    rest = program.get("clients").json()
    # The token that asks is noted as used meanwhile.
    for row in (*told["nodes"], *rest["clients"]):
        row.pop("lastUsedAt", row.pop("last_used_at", None))
    assert in_rest_names([without_id(node) for node in told["nodes"]]) == rest["clients"]
    assert told["totalCount"] == rest["pagination"]["total"] == 2
    fields = everything("Member")
    query = f"{{ studies {{ nodes {{ members {{ totalCount nodes {{ {fields} }} }} }} }} }}"
    (study,) = ask(program, query)["studies"]["nodes"]
    members = program.get(f"studies/{program.study.public_id}/members").json()
    assert in_rest_names(study["members"]["nodes"]) == members["members"]
    assert study["members"]["totalCount"] == 2
    one = f'{{ client(id: "{program.client.public_id}") {{ name studies }} }}'
    assert ask(program, one)["client"]["studies"] == [program.study.public_id]


def test_the_audit_log_is_what_rest_says_of_it(program):
    program.post("studies", {"name": "sleep"})
    told = listed(program, "auditLog", "AuditEntry", "actor { kind id name }")
    rest = program.get("audit").json()["entries"]
    details = [node.pop("details") for node in told["nodes"]]
    assert details == [entry.pop("details") for entry in rest]
    assert in_rest_names([without_id(node) for node in told["nodes"]]) == rest
    by_verb = 'query { auditLog(filter: {verb: "study.create"}, search: "study") { totalCount } }'
    assert ask(program, by_verb)["auditLog"]["totalCount"] == 2


def test_lists_of_clients_cost_as_many_queries_as_they_have_levels(
    program, django_assert_max_num_queries
):
    for number in range(8):
        create_client(name=f"c{number}", scopes=["viewer"], study=program.study)
        subject = find_subject(study=program.study, code=f"S{number}")
        program.make_session(make_device(port=f"/dev/{number}"), subject=subject)
    query = """{ clients { nodes { name studies } } auditLog { nodes { verb } }
        studies { nodes { members { nodes { name } } subjects { nodes { code sessions } } } }
        sessions { nodes { subject { code sessions study { name } } } } }"""
    with django_assert_max_num_queries(20):
        ask(program, query)


# --- changes -------------------------------------------------------------------------------------


def test_a_study_is_founded_changed_and_shared(program):
    other = create_client(name="other", scopes=["viewer"], study=program.study)
    query = "mutation($i: NewStudy!) { createStudy(input: $i) { studyId name keepsSubjectCodes } }"
    made = ask(program, query, i={"name": "sleep", "keepsSubjectCodes": True})["createStudy"]
    study_id = made["studyId"]
    rest = program.get(f"studies/{study_id}").json()
    assert rest.items() >= in_rest_names(made).items()
    query = """mutation($id: ID!, $i: StudyChange!) {
        changeStudy(id: $id, input: $i) { name keepsSubjectCodes } }"""
    told = ask(program, query, id=study_id, i={"keepsSubjectCodes": False})["changeStudy"]
    assert told == {"name": "sleep", "keepsSubjectCodes": False}

    for name, selected in (("addMember", "{ clientId name }"), ("removeMember", "")):
        query = f"mutation($s: ID!, $c: ID!) {{ {name}(studyId: $s, clientId: $c) {selected} }}"
        told = ask(program, query, s=study_id, c=other.client_id)[name]
        assert told == (
            {"clientId": other.client_id, "name": "other"} if selected else other.client_id
        )
        n_members = Study.objects.get(public_id=study_id).members.count()
        assert n_members == (2 if selected else 1)
    error = refused(program, query, "INVALID_CLIENT_ID", s=study_id, c=other.client_id)
    rest = program.delete(f"studies/{study_id}/members/{other.client_id}")
    assert error["message"] == error_of(rest, 404, "INVALID_CLIENT_ID")["message"]


def test_a_client_goes_through_its_life(program):
    made = ask(program, CREATE, input={"name": "new", "scopes": ["viewer"]})["createClient"]
    client_id = made["clientId"]
    assert made["client"] == {
        "clientId": client_id,
        "name": "new",
        "scopes": sorted(ROLES["viewer"]),
    }
    assert grant(client_id, made["clientSecret"]) == 200
    turned = ask(program, ROTATE, id=client_id)["rotateClient"]
    assert grant(client_id, made["clientSecret"]) == 401
    assert grant(client_id, turned["clientSecret"]) == 200
    revoke = "mutation($id: ID!) { revokeClient(id: $id) { tokensValidAfter } }"
    assert ask(program, revoke, id=client_id)["revokeClient"]["tokensValidAfter"]
    change = """mutation($id: ID!, $i: ClientChange!) {
        changeClient(id: $id, input: $i) { name isActive } }"""
    told = ask(program, change, id=client_id, i={"name": "old", "isActive": False})
    assert told["changeClient"] == {"name": "old", "isActive": False}
    ask(program, "mutation($id: ID!) { deleteClient(id: $id) }", id=client_id)
    assert not Client.objects.filter(public_id=client_id).exists()


CLIENTS = "query($active: Boolean) { clients(filter: {isActive: $active}) { nodes { name } } }"


def test_clients_are_told_apart_by_whether_they_are_switched_on(program):
    for name, is_active in (("on", True), ("off", False)):
        made = program.post("clients", {"name": name, "scopes": ["viewer"]}).json()
        program.patch(f"clients/{made['client_id']}", {"is_active": is_active})
    for active in (True, False, None):
        found = ask(program, CLIENTS, active=active)["clients"]["nodes"]
        query = {} if active is None else {"is_active": active}
        listed = program.get("clients", **query).json()["clients"]
        assert [node["name"] for node in found] == [client["name"] for client in listed]
        names = {node["name"] for node in found}
        assert ("on" in names, "off" in names) == (active is not False, not active)
    refused(program, CLIENTS, "VALIDATION_ERROR", active="true")


def test_a_filter_of_true_or_false_is_a_boolean_whatever_it_is_called():
    fields = {"name": "name", "on": "is_active", "study_id": "studies__public_id"}
    made = filter_of("SomeFilter", fields, Client).__strawberry_definition__
    kinds = {known.python_name: known.type.of_type for known in made.fields}
    assert kinds == {"name": str, "on": bool, "study_id": strawberry.ID}


def test_nobody_gives_what_it_does_not_have():
    program = Program("devices:read", "admin")
    for wanted in ({"name": "x", "scopes": ["nonsense"]}, {"name": "", "scopes": []}):
        error = refused(program, CREATE, "VALIDATION_ERROR", input=wanted)
        told = error_of(program.post("clients", wanted), 400, "VALIDATION_ERROR")
        assert error["message"] == told["message"]


def test_a_subject_withdraws(program):
    subject = find_subject(study=program.study, code="S01")
    program.make_session(make_device(), subject=subject)
    fields = everything("Withdrawal")
    query = f"mutation($id: ID!) {{ withdrawSubject(id: $id) {{ {fields} }} }}"
    told = ask(program, query, id=subject.public_id)["withdrawSubject"]
    assert told["sessions"] == 1
    again = program.post(f"subjects/{subject.public_id}/withdraw").json()
    assert in_rest_names(told) == again


# --- secrets -------------------------------------------------------------------------------------


def repeated(program, query, **variables):
    body = orjson.dumps({"query": query, "variables": variables})
    headers = {"Idempotency-Key": "once"}
    return [
        program.http.post("/graphql", body, content_type="application/json", headers=headers)
        for _ in range(2)
    ]


def test_a_change_that_is_sent_twice_with_a_key_is_made_once(program):
    query = "mutation($i: NewStudy!) { createStudy(input: $i) { studyId } }"
    first, second = repeated(program, query, i={"name": "sleep"})
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert Study.objects.filter(name="sleep").count() == 1


def test_a_secret_is_kept_nowhere(program, caplog):
    first, second = repeated(program, CREATE, input={"name": "new", "scopes": ["viewer"]})
    told = first.json()["data"]["createClient"]
    assert first["Cache-Control"] == "no-store"
    assert second.status_code == 409
    assert Client.objects.filter(name="new").count() == 1
    rotated = post(program, ROTATE, id=told["clientId"])
    assert rotated["Cache-Control"] == "no-store"
    secrets = [told["clientSecret"], rotated.json()["data"]["rotateClient"]["clientSecret"]]
    entries = str(list(AuditEntry.objects.values()))
    for secret in secrets:
        assert secret
        assert secret not in caplog.text
        assert secret not in entries
        assert secret not in str(list(Client.objects.values()))
        assert secret not in str(list(KeptAnswer.objects.values()))
    plain = post(program, "{ clients { nodes { name } } }")
    assert "no-store" not in plain["Cache-Control"]


# --- other studies -------------------------------------------------------------------------------

FOREIGN = {
    "study_": [
        'changeStudy(id: $id, input: {name: "mine now"}) { name }',
        'addMember(studyId: $id, clientId: "cli_nothing") { name }',
        'removeMember(studyId: $id, clientId: "cli_nothing")',
        'createClient(input: {name: "spy", scopes: ["viewer"], studyId: $id}) { clientId }',
    ],
    "cli_": [
        'changeClient(id: $id, input: {name: "mine now"}) { name }',
        "rotateClient(id: $id) { clientSecret }",
        "revokeClient(id: $id) { name }",
        "deleteClient(id: $id)",
    ],
    "subj_": ["withdrawSubject(id: $id) { withdrawalId }"],
}


@pytest.mark.parametrize("prefix", FOREIGN)
def test_what_is_theirs_cannot_be_told_from_what_is_not_there(program, prefix):
    theirs = Program("admin")
    subject = find_subject(study=theirs.study, code="S01")
    ids = {
        "study_": theirs.study.public_id,
        "cli_": theirs.client.public_id,
        "subj_": subject.public_id,
    }
    reads = ["query($id: ID!) { node(id: $id) { id } }"]
    n_before = AuditEntry.objects.count()
    for query in (*reads, *(f"mutation($id: ID!) {{ {change} }}" for change in FOREIGN[prefix])):
        told = []
        for public_id in (ids[prefix], make_public_id(prefix)):
            body = post(program, query, id=public_id).json()
            (error,) = body["errors"]
            error["extensions"].pop("requestId")
            told.append(str(body).replace(public_id, "…"))
        assert told[0] == told[1]
    assert AuditEntry.objects.count() == n_before
    entry = AuditEntry.objects.filter(study_id=theirs.study.public_id).first()
    refused(program, reads[0], "NOT_FOUND", id=entry.public_id)
    for name in ("studies", "clients", "subjects", "auditLog"):
        searched = ask(program, f'{{ {name}(search: "{ids[prefix]}") {{ totalCount }} }}')
        assert searched[name]["totalCount"] == 0
