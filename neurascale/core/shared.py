"""Valkey as the memory that all processes share: how it is asked, and that it may be away."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

log = logging.getLogger(__name__)

AWAY = (RedisError, OSError)  # what a Valkey that is away, ill or full is answered with
PREFIX = "neurascale:"  # of the names of all that is kept there
PATIENCE_SECONDS = 1.0  # a process that is short of time must not take that for an outage
ASK_AGAIN_SECONDS = 2.0
TELL_AGAIN_SECONDS = 60.0
# A pause and a second try, as redis-py has them by default, would cost whoever waits seconds.
OPTIONS: dict[str, Any] = {
    "socket_timeout": PATIENCE_SECONDS,
    "socket_connect_timeout": PATIENCE_SECONDS,
}


class Outage:
    """Whether Valkey is away: then it is asked every two seconds, and the log told once a minute.

    Parameters
    ----------
    consequence : str
        What is different meanwhile, for the log.
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, consequence: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._consequence = consequence
        self._clock = clock
        self._is_away = False
        self._ask_at = 0.0
        self._tell_at = float("-inf")

    def may_ask(self) -> bool:
        """Return whether it is worth a try; while it is away, to one caller every two seconds."""
        if not self._is_away:
            return True
        now = self._clock()
        if now < self._ask_at:
            return False
        self._ask_at = now + ASK_AGAIN_SECONDS
        return True

    def lost(self, error: Exception) -> None:
        """Take note that it did not answer."""
        now = self._clock()
        self._is_away, self._ask_at = True, now + ASK_AGAIN_SECONDS
        if now >= self._tell_at:
            self._tell_at = now + TELL_AGAIN_SECONDS
            log.warning("Valkey does not answer (%r): %s", error, self._consequence)

    def over(self) -> None:
        """Take note that it answered."""
        if self._is_away:
            self._is_away = False
            self._tell_at = float("-inf")
            log.info("Valkey is back")


class Script:
    """A program in Lua that runs inside Valkey, whole or not at all.

    Parameters
    ----------
    source : str
        Its text.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        # SHA-1 is the name that Valkey gives it (EVALSHA), and protects nothing.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Lines:
    """Connections to Valkey for code in threads, which has one each for the time of a question.

    redis-py's own client asks its pool, its retries and its metrics on the way, which doubles
    what a question costs; this is on the path of every request.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``.
    """

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), **OPTIONS)
        self._idle: deque[ConnectionInterface] = deque()  # its ends are safe among threads

    def ask(self, *command: str | int) -> Any:
        """Return the answer to a command.

        Raises
        ------
        RedisError, OSError
            If there is none, or if it is an error.
        """
        try:
            line = self._idle.pop()
        except IndexError:
            pass
        else:
            try:
                return self._ask(line, command)
            except LostError:
                pass  # Valkey was restarted since the line was used last
        line = self._pool.make_connection()
        line.connect()
        return self._ask(line, command)

    def run(self, script: Script, *, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """Return what a script returns; raises as `ask` does."""
        try:
            return self.ask("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:  # once in the life of a Valkey
            return self.ask("EVAL", script.source, len(keys), *keys, *args)

    def _ask(self, line: ConnectionInterface, command: tuple[str | int, ...]) -> Any:
        try:
            line.send_command(*command)
            answer = line.read_response()
        except ResponseError:
            self._idle.append(line)
            raise
        except BaseException:
            line.disconnect()
            raise
        self._idle.append(line)
        return answer
