"""The Celery application; which queue is served by whom is in `neurascale.supervisor.lab`."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import beat_init, task_prerun, worker_process_init, worker_ready

from neurascale.core.actor import enter, task_edge
from neurascale.core.host import die_with_parent
from neurascale.supervisor.program import announce

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neurascale.settings")
# Who runs the lab as root, in a container for one, knows; four workers need not say so each time.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("neurascale")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

MAIN_PID = os.getpid()  # of the worker; its pool processes are forked later and keep the value


@worker_process_init.connect
def end_with_the_worker(**_: Any) -> None:
    """Leave no pool process behind when its worker is killed."""
    die_with_parent(MAIN_PID)


@worker_ready.connect
@beat_init.connect
def tell_the_supervisor(**_: Any) -> None:
    """Say that tasks are consumed, or sent, from now on."""
    announce()


@task_prerun.connect
def say_who_is_at_work(task_id: str, task: Any, **_: Any) -> None:
    """Let the audit log name the task that changes something."""
    enter(task_edge(task.name, task_id))
