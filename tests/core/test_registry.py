import importlib
import textwrap
import threading

import pytest

from neurascale.core.registry import InvalidPluginArgumentsError, Registry, UnknownPluginError


def test_an_unknown_name_is_answered_with_the_known_ones():
    registry = Registry("datasets")
    registry.register("notch")(lambda *, frequency: frequency)
    with pytest.raises(UnknownPluginError, match="'nocth' is not one of \\['notch'\\]"):
        registry["nocth"]


def test_a_name_belongs_to_one_plugin():
    registry = Registry("datasets")
    registry.register("notch")(len)
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("notch")(len)


def test_keywords_are_checked_against_the_signature():
    registry = Registry("datasets")
    registry.register("notch")(lambda *, frequency: frequency)
    registry["notch"].check(frequency=50)
    with pytest.raises(InvalidPluginArgumentsError, match="frequnecy"):
        registry["notch"].check(frequnecy=50)


SLOW = {
    "__init__.py": """
        import threading
        from neurascale.core.registry import Registry
        plugins = Registry(__name__)
        began, may_end = threading.Event(), threading.Event()
    """,
    "one.py": """
        from slow_plugins import began, may_end, plugins
        began.set()
        assert may_end.wait(30)
        plugins.register("one")(print)
    """,
}


def test_who_asks_while_plugins_are_loaded_waits_for_all_of_them(tmp_path, monkeypatch):
    (tmp_path / "slow_plugins").mkdir()
    for name, source in SLOW.items():
        (tmp_path / "slow_plugins" / name).write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("slow_plugins")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(package.plugins.names)) for _ in range(2)
    ]
    threads[0].start()
    assert package.began.wait(30)
    threads[1].start()
    threads[1].join(0.2)  # it would have its wrong answer by now
    package.may_end.set()
    for thread in threads:
        thread.join(30)
    assert found == [["one"], ["one"]]
