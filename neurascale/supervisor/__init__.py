"""One command starts the lab, keeps it running and stops it: what `manage.py up` is made of.

Rule of this package: no Django, nothing heavy and one thread (children are ended when the thread
that started them ends, prctl(2)). Only `lab.py` knows which programs there are.
"""
