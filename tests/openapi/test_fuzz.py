"""schemathesis over the whole API: every answer, to good and to bad requests, is as declared."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, seed, settings

from tests.openapi import fuzz
from tests.web import serve

schema = fuzz.load()
FEWEST_ROUNDS, MOST_ROUNDS = 3, 20  # of the workflows
within_reason = settings(
    max_examples=fuzz.EXAMPLES,
    stateful_step_count=12,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def web(django_db_setup, tmp_path_factory):
    log = tmp_path_factory.mktemp("fuzz") / "log"
    with serve(log, **fuzz.ENVIRONMENT) as server:
        yield server
    told = log.read_text()
    assert "Traceback" not in told, told[-8000:]


@pytest.fixture
def headers(transactional_db):
    return fuzz.furnish()


def answers_of(operation):
    """Return the test of an operation, under a name of its own.

    One ``schema.parametrize()`` makes a test for each, all with the same id (schemathesis 4.32 with
    pytest 9.2); xdist, which sends ids to its workers, then runs one of them.
    """

    @schema.include(operation_id=operation).parametrize()
    @within_reason
    def every_answer_is_as_declared(case, web, headers):
        case.call_and_validate(base_url=web.url, headers=headers)

    return every_answer_is_as_declared


for operation in fuzz.operations(schema):
    globals()[f"test_every_answer_is_as_declared_{operation}"] = answers_of(operation)


@pytest.mark.long
def test_what_was_made_can_be_used_and_what_was_removed_is_gone(web, transactional_db):
    followed = Counter()

    class Workflow(schema.as_state_machine()):
        def setup(self):
            self.headers = fuzz.furnish()

        def get_call_kwargs(self, case):
            return {"base_url": web.url, "headers": self.headers}

        def after_call(self, response, case):
            super().after_call(response, case)
            if response.status_code < 300:
                followed[case.operation.label] += 1

    def was_used() -> bool:
        made = followed["POST /v1/sessions"] > 0
        return made and any("{session_id}" in label for label in followed)

    # What is tried depends on what was answered, so no one seed is sure to get that far.
    for number in range(MOST_ROUNDS):
        seed(number)(Workflow).run(settings=settings(within_reason, max_examples=fuzz.EXAMPLES))
        if number + 1 >= FEWEST_ROUNDS and was_used():
            break
    # Sessions were made, and something was done with what has such an id.
    assert followed["POST /v1/sessions"]
    assert any("{session_id}" in label for label in followed)
