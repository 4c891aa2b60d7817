"""A signature shows which functions can see arms: only what is handed an opener opens anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rts

ROOT = Path(rts.__file__).parent
SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.py"))}

# Openers are made where a deed begins, and by the nightly check, whose view of the trial carries its own.
MAKERS = {"conduct/perform.py", "store/transaction.py", "store/checks/view.py"}

# What unlocks anything without an opener belongs to the vault.
KEYS = {"AESGCM", "open_box", "unwrap", "Opener", "unlock_person_key", "open_offline"}


def _functions(tree: ast.AST, parameters: frozenset[str] = frozenset()) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Every node below `tree` with the parameters of the functions around it."""
    for node in ast.iter_child_nodes(tree):
        inner = parameters
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            arguments = node.args
            inner = parameters | {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        yield node, inner
        yield from _functions(node, inner)


def strangers(name: str, source: str) -> list[str]:
    """Where `source` uses an opener that its function was not handed."""
    found = []
    for node, parameters in _functions(ast.parse(source)):
        line = f"{name}:{getattr(node, 'lineno', 0)}"
        is_name = isinstance(node, ast.Name) and node.id == "opener" and isinstance(node.ctx, ast.Load)
        if is_name and "opener" not in parameters and name not in MAKERS:
            found.append(f"{line} uses an opener that is no parameter")
        is_attribute = isinstance(node, ast.Attribute) and node.attr == "opener"
        if is_attribute and name not in MAKERS and not name.startswith("store/checks/"):
            found.append(f"{line} takes an opener from somewhere")
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in KEYS and not name.startswith("vault/"):
                found.append(f"{line} calls {called}")
    return found


def test_only_functions_that_are_handed_an_opener_open_anything() -> None:
    outside = {name: source for name, source in SOURCES.items() if not name.startswith("vault/")}
    found = [place for name, source in outside.items() for place in strangers(name, source)]

    # The command that opens a list offline, with a recipient's own key, is for unblinded statisticians.
    assert {place.rpartition(" ")[2] for place in found} <= {"open_offline", "unlock_person_key"}
    assert {place.partition(":")[0] for place in found} <= {"cli/lists.py"}


@pytest.mark.parametrize(
    "source",
    [
        "def peek(tx):\n    return tx.opener()",
        "def peek(tx, entry):\n    opener = tx.store.vault.opener(print)\n    return open_entry(tx, entry, opener)",
        "def peek(key, box):\n    return AESGCM(key).decrypt(box)",
    ],
)
def test_a_function_that_helps_itself_to_an_opener_is_found(source: str) -> None:
    assert strangers("reports/peek.py", source)


@pytest.mark.parametrize("room", ["web", "reports", "notices", "api"])
def test_doors_and_reports_know_neither_opener_nor_vault(room: str) -> None:
    for name, source in SOURCES.items():
        if name.startswith(f"{room}/"):
            names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
            imported = [
                alias.name
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.ImportFrom)
                for alias in [*node.names, ast.alias(node.module or "")]
            ]
            assert "opener" not in names, name
            assert not [
                one for one in imported if one.startswith(("rts.vault", "open_entry", "open_kits", "open_restr"))
            ]
