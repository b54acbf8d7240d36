"""Signatures that held once are not computed again, and nothing else is taken on trust."""

from __future__ import annotations

import pytest
import time_machine
from rest_framework_simplejwt.exceptions import TokenBackendError

from neurascale.core import signatures
from neurascale.core.signatures import Signatures

KEY = "k" * 64
NOW = 1_790_000_000


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def backend(clock) -> Signatures:
    return Signatures("HS256", signing_key=KEY)


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The tokens whose signature was computed."""
    seen = []
    decode = signatures.TokenBackend.decode

    def watched(self, token, verify=True):
        seen.append(token)
        return decode(self, token, verify)

    monkeypatch.setattr(signatures.TokenBackend, "decode", watched)
    return seen


def token_of(backend, *, seconds=60, **claims) -> str:
    return backend.encode({"exp": NOW + seconds, "iat": NOW, "sub": "cli_1", **claims})


def test_a_signature_is_computed_once_a_token(backend, computed):
    tokens = [token_of(backend, jti=str(number)) for number in range(3)]
    for _ in range(3):
        for number, token in enumerate(tokens):
            assert backend.decode(token)["jti"] == str(number)
    assert computed == tokens


def test_what_is_done_with_the_claims_stays_with_who_did_it(backend):
    token = token_of(backend)
    backend.decode(token)["sub"] = "cli_2"
    backend.decode(token)["scopes"] = ["admin"]
    assert backend.decode(token) == {"exp": NOW + 60, "iat": NOW, "sub": "cli_1"}


def test_a_token_that_held_ends_in_its_second(backend, clock):
    token = token_of(backend, seconds=60)
    clock.move_to(NOW + 59.9)
    assert backend.decode(token)["sub"] == "cli_1"
    clock.move_to(NOW + 60)
    with pytest.raises(TokenBackendError):
        backend.decode(token)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_one_letter_of_a_token_that_held_is_another_token(backend, part):
    token = token_of(backend)
    backend.decode(token)
    parts = token.split(".")
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]
    for _ in range(2):  # what is refused is not remembered either
        with pytest.raises(TokenBackendError):
            backend.decode(".".join(parts))


def test_what_was_read_without_its_signature_is_no_proof(backend):
    forged = token_of(Signatures("HS256", signing_key="other" * 16))
    assert backend.decode(forged, verify=False)["sub"] == "cli_1"
    with pytest.raises(TokenBackendError):
        backend.decode(forged)


def test_two_keys_remember_each_for_itself(backend):
    token = token_of(backend)
    backend.decode(token)
    with pytest.raises(TokenBackendError):
        Signatures("HS256", signing_key="other" * 16).decode(token)


def test_no_more_are_remembered_than_fit(backend, monkeypatch, computed):
    monkeypatch.setattr(signatures, "MAX_HELD", 4)
    tokens = [token_of(backend, jti=str(number)) for number in range(10)]
    for token in tokens:
        backend.decode(token)
        assert len(backend._held) <= 4
    assert backend.decode(tokens[0])["jti"] == "0"
    assert len(computed) == 11
