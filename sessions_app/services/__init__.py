"""Use cases of studies: who is in one, what was recorded of whom, who sees it."""

from sessions_app.services.clients import (
    NewClient,
    create_client,
    get_client,
    rotate_client,
    visible_clients,
)
from sessions_app.services.sessions import (
    change_session,
    create_session,
    delete_session,
    find_subject,
    get_event,
    get_session,
    get_study,
    heard_studies,
    lock_session,
    named_subject,
    peek_session,
    visible_events,
    visible_sessions,
    visible_studies,
    without_code,
)
from sessions_app.services.studies import (
    add_member,
    change_study,
    create_study,
    remove_member,
    visible_entries,
)
from sessions_app.services.subjects import get_subject, visible_subjects

__all__ = [
    "NewClient",
    "add_member",
    "change_session",
    "change_study",
    "create_client",
    "create_session",
    "create_study",
    "delete_session",
    "find_subject",
    "get_client",
    "get_event",
    "get_session",
    "get_study",
    "get_subject",
    "heard_studies",
    "lock_session",
    "named_subject",
    "peek_session",
    "remove_member",
    "rotate_client",
    "visible_clients",
    "visible_entries",
    "visible_events",
    "visible_sessions",
    "visible_studies",
    "visible_subjects",
    "without_code",
]
