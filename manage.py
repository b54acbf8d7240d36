#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

from neurascale.core.actor import command_edge, enter

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "neurascale.settings")
    enter(command_edge(" ".join(["manage.py", *sys.argv[1:2]])))
    execute_from_command_line(sys.argv)
