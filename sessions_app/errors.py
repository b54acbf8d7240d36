"""What can go wrong with studies and sessions."""

from neurascale.core.errors import ConflictError, NotFoundError


class InvalidStudyIdError(NotFoundError):
    """No study has that id, or the caller may not know that it has."""

    code = "INVALID_STUDY_ID"


class InvalidSessionIdError(NotFoundError):
    """No session has that id, or the caller may not know that it has."""

    code = "INVALID_SESSION_ID"


class InvalidEventIdError(NotFoundError):
    """No event has that id, or the caller may not know that it has."""

    code = "INVALID_EVENT_ID"


class SessionStateError(ConflictError):
    """The session's life cycle does not allow the step."""

    code = "INVALID_SESSION_STATE"


class InvalidSubjectIdError(NotFoundError):
    """No subject has that id, or the caller may not know that it has."""

    code = "INVALID_SUBJECT_ID"


class InvalidClientIdError(NotFoundError):
    """No client has that id, or the caller may not know that it has."""

    code = "INVALID_CLIENT_ID"


class SubjectWithdrawnError(ConflictError):
    """The subject has withdrawn, and is not recorded any more."""

    code = "SUBJECT_WITHDRAWN"


class SubjectRecordingError(ConflictError):
    """The subject is being recorded, and what is still being written cannot be deleted."""

    code = "SUBJECT_IS_RECORDING"
