"""The rules of `architecture.md`, "Which way imports run", as functions over the project's `ast`.

Each rule takes a `Tree` and returns the sentences that say where it is broken. `test_architecture`
asks them of the project, and of small trees that break them, so that each is known to be able to
fail. Nothing is imported: what is checked is what is written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

APPS = ("neurascale.core", "devices", "sessions_app", "ingest", "datasets", "mlmodels")
CLIENT = "neurascale.client"
PROJECT = {"neurascale", *APPS[1:]}
PLUGINS = {"boards", "filters", "importers", "exporters", "classifiers"}
LAYERS = (  # calls go down; what is not named here is the craft
    {"urls"},
    {"views", "consumers", "admin", "management", "graphql"},
    {"serializers"},
    {"services"},
    {"tasks"},
    {"craft"},
    {"models"},
    {"plug-in"},
    {"errors"},
)
NO_DJANGO = (
    *(f"neurascale.core.{name}" for name in ("chunk", "registry", "clock", "errors")),
    CLIENT,
    "neurascale.supervisor",
    "devices.boards",
    "ingest.filters",
    "datasets.importers",
    "datasets.exporters",
    "mlmodels.classifiers",
)
DJANGO = {"django", "rest_framework", "channels", "unfold", "strawberry_django"}
IO = {"serial", "socket", "select", "selectors", "time", "threading", "asyncio", "subprocess", "os"}
OPENS_PORTS = "devices.link"
PORT_OPENERS = {"Serial", "serial_for_url"}
NAMES_GROUPS = "ingest.broadcast"
GROUP_CALLS = {"group_add", "group_discard", "group_send"}
LOADS_PLUGINS = "neurascale.core.registry"
GRAPHQL = {"graphql", "strawberry", "strawberry_django"}  # a second to import: see its rule
MAX_LINES = 450


@dataclass(frozen=True)
class Import:
    """One name that a module takes from elsewhere."""

    target: str  # a module of the project, or a foreign one as it is written
    line: int
    is_hidden: bool  # inside a function


@dataclass
class Module:
    """One file."""

    name: str
    path: Path
    is_package: bool
    source: str
    ast: ast.Module
    imports: list[Import] = field(default_factory=list)

    @property
    def app(self) -> str | None:
        """The app it belongs to; None for the root that wires."""
        return next((app for app in APPS if is_within(self.name, app)), None)

    @property
    def is_no_django(self) -> bool:
        """Whether the architecture, or its own docstring, promises that it knows no Django."""
        return any(is_within(self.name, promised) for promised in NO_DJANGO) or (
            "no django" in " ".join((ast.get_docstring(self.ast) or "").lower().split())
        )

    @property
    def layer(self) -> int | None:
        """How far down in its app; None where that says nothing."""
        if self.app is None:
            return None
        first = self.name.removeprefix(self.app).lstrip(".").split(".")[0]
        if first in {"", "apps", "migrations"}:
            return None
        if first in PLUGINS or (self.is_no_django and first != "errors"):
            first = "plug-in"
        depths = {name: depth for depth, names in enumerate(LAYERS) for name in names}
        return depths.get(first, depths["craft"])

    def at(self, line: int) -> str:
        """Return where something is, for people to go and look."""
        return f"{self.path}:{line}"

    def calls(self, names: set[str]) -> Iterator[ast.Call]:
        """Yield the calls of functions or methods with one of these names."""
        for node in ast.walk(self.ast):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", None))
                if called in names:
                    yield node


class Tree:
    """The project's files, parsed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        for top in sorted(PROJECT):
            for path in sorted((root / top).rglob("*.py")):
                self._add(path.relative_to(root))
        for module in self.modules.values():
            module.imports = list(self._imports(module, module.ast, hidden=False))

    def _add(self, path: Path) -> None:
        parts = path.with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        source = (self.root / path).read_text(encoding="utf-8")
        self.modules[name] = Module(name, path, is_package, source, ast.parse(source))

    def _imports(self, module: Module, node: ast.AST, *, hidden: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(self._known(alias.name), child.lineno, hidden)
            elif isinstance(child, ast.ImportFrom):
                base = self._base(module, child)
                for alias in child.names:
                    yield Import(self._known(f"{base}.{alias.name}"), child.lineno, hidden)
            else:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._imports(module, child, hidden=hidden or is_function)

    def _base(self, module: Module, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = module.name.split(".")[: None if module.is_package else -1]
        up = up[: len(up) - node.level + 1]
        return ".".join([*up, *([node.module] if node.module else [])])

    def _known(self, name: str) -> str:
        """Return the module of the project in which a dotted name is found."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            if (shorter := ".".join(parts[:length])) in self.modules:
                return shorter
        return name

    def inner(self, module: Module) -> Iterator[tuple[Import, Module]]:
        """Yield what a module takes from other modules of the project."""
        for taken in module.imports:
            if taken.target in self.modules and taken.target != module.name:
                yield taken, self.modules[taken.target]

    @cached_property
    def loads(self) -> dict[str, set[str]]:
        """For each module all that it takes from others, and they from others yet."""
        direct = {n: {taken.target for taken in m.imports} for n, m in self.modules.items()}
        loaded: dict[str, set[str]] = {}
        for name in direct:
            seen, todo = set(), [name]
            while todo:
                for target in direct.get(todo.pop(), ()):
                    if target not in seen:
                        seen.add(target)
                        todo.append(target)
            loaded[name] = seen
        return loaded


def is_within(name: str, package: str) -> bool:
    """Tell whether a dotted name is a package or inside it."""
    return name == package or name.startswith(package + ".")


# --- The rules -----------------------------------------------------------------------------------


def apps_look_left_only(tree: Tree) -> Iterator[str]:
    """core < devices < sessions_app < ingest < datasets < mlmodels; nobody imports the root."""
    for module in tree.modules.values():
        for taken, target in tree.inner(module):
            where = f"{module.at(taken.line)}: {module.name} imports {target.name}"
            if is_within(module.name, CLIENT):
                if not is_within(target.name, CLIENT) and target.name != "neurascale":
                    yield f"{where}, but the SDK stands alone"
            elif module.app is None or target.name == "neurascale":
                continue
            elif target.app is None:
                yield f"{where}, but nobody imports what wires"
            elif APPS.index(target.app) > APPS.index(module.app):
                yield f"{where}, but {target.app} is to the right of {module.app}"


def calls_go_down(tree: Tree) -> Iterator[str]:
    """Inside an app: edges, serializers, services, tasks, craft, models, plug-ins."""
    for module in tree.modules.values():
        for taken, target in tree.inner(module):
            if module.app != target.app or module.layer is None or target.layer is None:
                continue
            if target.layer < module.layer:
                above = " or ".join(sorted(LAYERS[target.layer]))
                yield f"{module.at(taken.line)}: {module.name} imports {target.name}, of {above}"


def tasks_never_import_services(tree: Tree) -> Iterator[str]:
    """Nor those of another app."""
    for module in tree.modules.values():
        for taken, target in tree.inner(module):
            layers = (module.layer, target.layer)
            if None not in layers and [min(LAYERS[i]) for i in layers] == ["tasks", "services"]:
                yield f"{module.at(taken.line)}: {module.name} imports {target.name}"


def nothing_is_imported_in_a_function(tree: Tree) -> Iterator[str]:
    """Nor by name, but by the registry and by a module's own `__getattr__`."""
    for module in tree.modules.values():
        for taken in module.imports:
            if taken.is_hidden:
                yield f"{module.at(taken.line)}: {taken.target} is imported inside a function"
        lazy = {
            id(node)
            for function in module.ast.body
            if isinstance(function, ast.FunctionDef) and function.name == "__getattr__"
            for node in ast.walk(function)
        }
        if module.name != LOADS_PLUGINS:
            for call in module.calls({"import_module", "__import__", "import_string"}):
                if id(call) not in lazy:
                    yield f"{module.at(call.lineno)}: a module is imported by name"


def no_module_imports_in_circles(tree: Tree) -> Iterator[str]:
    """No two-way pairs, and no longer circles."""
    graph = {name: {t.name for _, t in tree.inner(m)} for name, m in tree.modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " imports ".join(reversed(error.args[1]))


def no_django_means_no_django(tree: Tree) -> Iterator[str]:
    """What is marked so does not load Django, not even through what it imports."""
    for module in tree.modules.values():
        if not module.is_no_django:
            continue
        for found in sorted({name.split(".")[0] for name in tree.loads[module.name]} & DJANGO):
            through = sorted(
                name
                for name in tree.loads[module.name] & tree.modules.keys()
                if any(t.target.split(".")[0] == found for t in tree.modules[name].imports)
            )
            yield f"{module.path}: loads {found}" + (f" through {through}" if through else "")


def graphql_is_loaded_by_its_edges_only(tree: Tree) -> Iterator[str]:
    """So that no start and no command waits for it: the rest reaches them lazily, if at all."""
    for module in tree.modules.values():
        if "graphql" in module.name.split("."):
            continue
        for found in sorted({name.split(".")[0] for name in tree.loads[module.name]} & GRAPHQL):
            yield f"{module.path}: {module.name} loads {found}"


def boards_do_no_io(tree: Tree) -> Iterator[str]:
    """Bytes in, frames out: no ports, no clocks, no sleeps."""
    for module in tree.modules.values():
        if is_within(module.name, "devices.boards"):
            for taken in module.imports:
                if taken.target.split(".")[0] in IO:
                    yield f"{module.at(taken.line)}: a board imports {taken.target}"


def one_file_opens_ports(tree: Tree) -> Iterator[str]:
    """`devices/link.py`."""
    for module in tree.modules.values():
        if module.name != OPENS_PORTS:
            for call in module.calls(PORT_OPENERS):
                yield f"{module.at(call.lineno)}: a port is opened outside {OPENS_PORTS}"


def group_names_live_in_one_file(tree: Tree) -> Iterator[str]:
    """`ingest/broadcast.py`: elsewhere a group's name is not put together."""
    for module in tree.modules.values():
        if module.name == NAMES_GROUPS:
            continue
        written = {
            target.id
            for node in ast.walk(module.ast)
            if isinstance(node, ast.Assign | ast.AnnAssign) and is_written(node.value)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for call in module.calls(GROUP_CALLS):
            name = call.args[0] if call.args else call.keywords[0].value
            if is_written(name) or (isinstance(name, ast.Name) and name.id in written):
                yield f"{module.at(call.lineno)}: names a group; that is {NAMES_GROUPS}'s"


def is_written(node: ast.AST | None) -> bool:
    """Tell whether an expression is a string put together on the spot."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and is_written(node.func.value)
    if isinstance(node, ast.BinOp):
        return is_written(node.left) or is_written(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def files_can_be_read_in_one_go(tree: Tree) -> Iterator[str]:
    """About 400 lines."""
    for folder in sorted({*PROJECT, "tests", "benchmarks"}):
        for path in sorted((tree.root / folder).rglob("*.py")):
            n_lines = len(path.read_text(encoding="utf-8").splitlines())
            if n_lines > MAX_LINES and "migrations" not in path.parts:
                yield f"{path.relative_to(tree.root)}: {n_lines} lines; split it"


RULES = (
    apps_look_left_only,
    calls_go_down,
    tasks_never_import_services,
    nothing_is_imported_in_a_function,
    no_module_imports_in_circles,
    no_django_means_no_django,
    graphql_is_loaded_by_its_edges_only,
    boards_do_no_io,
    one_file_opens_ports,
    group_names_live_in_one_file,
    files_can_be_read_in_one_go,
)
