"""REST of studies: clients, members, subjects, the audit log, and half of the sessions."""

from sessions_app.views.sessions import SessionViewSet, StudyViewSet, read_new_session

__all__ = ["SessionViewSet", "StudyViewSet", "read_new_session"]
