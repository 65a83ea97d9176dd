"""The house: rooms stand on levels, and a file imports only from lower ones or its own room."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "effnetv2"
SRC = Path(__file__).parents[1] / "src"
LEVELS = [
    {"errors", "version"},
    {"config"},
    {"arch"},
    {"nn", "data"},
    {"train"},
    {"report"},
    {"search", "study", "detect", "deploy", "bench"},
    {"api"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
JUNK_DRAWERS = {"utils", "common", "helpers", "misc", "base"}
DEEPEST = 8

FILES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SRC.glob(f"{PACKAGE}/**/*.py"))
}
"""Module name → file; a package's name stands for its `__init__`."""

every_file = pytest.mark.parametrize("module", [m for m in FILES if m != PACKAGE])
"""All but the package root, which shows the outside what lies inside."""


def test_the_package_is_where_this_test_looks() -> None:
    assert f"{PACKAGE}.arch.spec" in FILES


@every_file
def test_every_file_belongs_to_a_room(module: str) -> None:
    assert room(module) in LEVEL


@every_file
def test_a_file_imports_from_lower_rooms_or_its_own(module: str) -> None:
    here = room(module)
    for name in inside(module):
        there = room(name)
        assert there == here or LEVEL[there] < LEVEL[here], f"{module} imports {name}"


@every_file
def test_nobody_imports_the_package_root(module: str) -> None:
    assert PACKAGE not in imports(module)


@pytest.mark.parametrize("module", FILES)
def test_imports_are_absolute(module: str) -> None:
    relative = [n for n in nodes(module) if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative, f"line {relative[0].lineno}"


@every_file
def test_values_know_nothing_of_torch(module: str) -> None:
    if LEVEL[room(module)] < LEVEL["nn"]:
        frameworks = {name.split(".")[0] for name in imports(module)} & {"torch", "torchvision"}
        assert not frameworks


@every_file
def test_no_file_is_a_junk_drawer(module: str) -> None:
    words = module.replace(".", "_").split("_")
    assert not JUNK_DRAWERS.intersection(words)


def test_the_file_graph_has_no_cycles_and_is_not_deep() -> None:
    chains: dict[str, tuple[str, ...]] = {}

    def longest(module: str, above: tuple[str, ...]) -> tuple[str, ...]:
        """Return the longest chain of imports that starts at `module`."""
        assert module not in above, f"a cycle: {' → '.join((*above, module))}"
        if module not in chains:
            below = [longest(name, (*above, module)) for name in sorted(inside(module))]
            chains[module] = (module, *max(below, key=len, default=()))
        return chains[module]

    chain = max((longest(module, ()) for module in FILES if module != PACKAGE), key=len)
    assert len(chain) - 1 <= DEEPEST, f"{len(chain) - 1} imports deep: {' → '.join(chain)}"


def room(module: str) -> str:
    """Return the folder or file that `module` belongs to, right below the package."""
    return module.split(".")[1]


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))))


@cache
def imports(module: str) -> frozenset[str]:
    """Return every module that the file imports, inside functions too."""
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from effnetv2.nn import layers` imports the file `layers`, and the room's `__init__`.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} | (names & FILES.keys())
    return frozenset(found)


def inside(module: str) -> set[str]:
    """Return the files of the package, other than its root, that the file imports."""
    return {name for name in imports(module) if name.startswith(f"{PACKAGE}.")}
