"""Use cases of studies: found one, let clients in and out; and who reads what in the audit log."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from neurascale.core.audit import record, recorded
from neurascale.core.auth import Principal
from neurascale.core.models import AuditEntry, Client
from sessions_app.models import Study
from sessions_app.services.clients import visible_clients
from sessions_app.services.sessions import is_staff, visible_studies


def create_study(*, principal: Principal, name: str, keeps_subject_codes: bool = False) -> Study:
    """Found a study; a client that does is its first member."""
    with recorded():
        study = Study.objects.create(name=name, keeps_subject_codes=keeps_subject_codes)
        if isinstance(principal, Client):
            study.members.add(principal)
        record("study.create", study, study=study)
    return study


def change_study(*, study: Study, **changes: Any) -> Study:
    """Change a study's name, or whether it keeps the codes of its subjects.

    Codes that are not to be kept any more are forgotten at once; those of before are not known, and
    kept from the next time on that they are named.
    """
    with recorded():
        study = Study.objects.select_for_update().get(pk=study.pk)
        for name, value in changes.items():
            setattr(study, name, value)
        study.save(update_fields=list(changes))
        if not study.keeps_subject_codes:
            study.subjects.exclude(code="").update(code="")
        record("study.change", study, study=study, fields=sorted(changes))
    return study


def add_member(*, study: Study, client: Client) -> None:
    """Let a client see a study; twice does no harm."""
    with recorded():
        study.members.add(client)
        record("study.add_member", study, study=study, client=client.public_id)


def remove_member(*, study: Study, client: Client) -> None:
    """Let a client see a study no more; its open sockets end within seconds."""
    with recorded():
        study.members.remove(client)
        record("study.remove_member", study, study=study, client=client.public_id)


def visible_entries(principal: Principal | None) -> QuerySet[AuditEntry]:
    """Return the entries of the audit log that a principal may read.

    A client reads what was done in its studies, to clients that it administers, and by itself
    unless that is another study's matter; people of the portal's staff read all.
    """
    if not isinstance(principal, Client):
        return AuditEntry.objects.all() if is_staff(principal) else AuditEntry.objects.none()
    return AuditEntry.objects.filter(
        Q(study_id__in=visible_studies(principal).values("public_id"))
        | Q(actor_kind="client", actor_id=principal.public_id, study_id="")
        | Q(object_id__in=visible_clients(principal).values("public_id"))
    )
