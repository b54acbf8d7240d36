"""A file dropped into a package is a plug-in.

The package's ``__init__.py`` holds ``things = Registry(__name__)``; a file beside it holds
``@things.register("name", example={...})`` over a function or a class. Files are imported when
the registry is first asked, so a package costs nothing until somebody needs it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from neurascale.core.errors import InvalidError

T = TypeVar("T", bound=Callable[..., Any])


class UnknownPluginError(InvalidError):
    """Nobody registered that name."""

    code = "UNKNOWN_PLUGIN"


class InvalidPluginArgumentsError(InvalidError):
    """The keywords do not fit the plug-in's signature."""

    code = "INVALID_ARGUMENTS"


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """One registered plug-in.

    Parameters
    ----------
    name : str
        What users call it; also its name on the wire.
    make : callable
        The function or class itself.
    example : mapping
        Keywords that work: the contract tests use them, and their order gives meaning to
        positional wire forms such as ``"bandpass": [1, 50]``.
    """

    name: str
    make: T
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the plug-in's docstring."""
        return (inspect.getdoc(self.make) or "").split("\n", 1)[0]

    def check(self, **keywords: Any) -> None:
        """Raise `InvalidPluginArgumentsError` unless ``keywords`` fit the signature."""
        try:
            inspect.signature(self.make).bind(**keywords)
        except TypeError as error:
            raise InvalidPluginArgumentsError(
                f"{self.name} cannot take {sorted(keywords)}: {error}",
                plugin=self.name,
                accepts=list(inspect.signature(self.make).parameters),
            ) from error


class Registry(Generic[T]):
    """The plug-ins of one package, found by looking at its files.

    Parameters
    ----------
    package : str
        Dotted name of the package, ``__name__`` in its ``__init__.py``.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self._plugins: dict[str, Plugin[T]] = {}
        self._loaded = self._is_loading = False
        self._lock = threading.RLock()

    def register(self, name: str, *, example: Mapping[str, Any] | None = None) -> Callable[[T], T]:
        """Return a decorator that registers a function or class under ``name``.

        Raises
        ------
        ValueError
            If another object already has that name: a programming error, found at import.
        """

        def decorate(make: T) -> T:
            if name in self._plugins:
                raise ValueError(f"{name!r} is registered twice in {self.package}")
            self._plugins[name] = Plugin(name, make, dict(example or {}))
            return make

        return decorate

    def __getitem__(self, name: str) -> Plugin[T]:
        self._load()
        try:
            return self._plugins[name]
        except KeyError:
            raise UnknownPluginError(
                f"{name!r} is not one of {self.names}", asked=name, known=self.names
            ) from None

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._plugins

    def __iter__(self) -> Iterator[Plugin[T]]:
        self._load()
        return iter([self._plugins[name] for name in self.names])

    @property
    def names(self) -> list[str]:
        """Registered names, sorted."""
        self._load()
        return sorted(self._plugins)

    def choices(self) -> list[tuple[str, str]]:
        """Return (name, summary) pairs, for a Django field whose choices ask for no migration."""
        return [(plugin.name, plugin.summary) for plugin in self]

    def _load(self) -> None:
        if self._loaded:
            return
        with self._lock:  # who comes second waits, and does not find half of them
            if self._loaded or self._is_loading:  # a plug-in may ask while it is being loaded
                return
            self._is_loading = True
            try:
                package = importlib.import_module(self.package)
                for module in pkgutil.iter_modules(package.__path__):
                    if not module.name.startswith("_"):
                        importlib.import_module(f"{self.package}.{module.name}")
                self._loaded = True
            finally:
                self._is_loading = False
