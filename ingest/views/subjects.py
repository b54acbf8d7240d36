"""Subjects who withdraw. The list of subjects is served by `sessions_app`."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from ingest.services.withdrawals import withdraw_subject
from neurascale.core.auth import Scope
from neurascale.core.openapi.operation import Operation
from neurascale.core.views import ApiView
from sessions_app.errors import SubjectRecordingError
from sessions_app.serializers import WithdrawalSerializer
from sessions_app.services import get_subject


class WithdrawalView(ApiView):
    """Delete what was recorded of a subject."""

    required_scopes = {"POST": Scope.SESSIONS_WRITE}
    operations = {"POST": Operation(gives=WithdrawalSerializer, raises=(SubjectRecordingError,))}

    def post(self, request: Request, subject_id: str) -> Response:
        """Delete all recordings of a subject, and answer with the record that stays of it."""
        withdrawal = withdraw_subject(subject=get_subject(request.user, subject_id))
        return Response(WithdrawalSerializer(withdrawal).data)
