"""Names say a thing, not a place or an amount: the share of vague ones stays small (CONTRIBUTING.md, "Words")."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NOT_PRODUCT = {"tests", "benchmarks", "docs", "build", "output"}
VAGUE = {"found", "seen", "wanted", "kept", "made", "given", "told", "whole", "part", "what", "place", "there", "here",
         "less", "most", "rest", "both", "each"}  # fmt: skip
LARGEST_SHARE = 0.01


def bound_names(source: str) -> list[str]:
    """Every argument and every name that is assigned."""
    return [
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    ]


def product_files() -> list[Path]:
    return [
        path
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in NOT_PRODUCT and not path.relative_to(ROOT).parts[0].startswith(".")
    ]


def test_vague_names_stay_rare():
    counts: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for path in product_files():
        names = bound_names(path.read_text(encoding="utf-8"))
        counts.update(names)
        places[path.relative_to(ROOT).as_posix()] = sum(name in VAGUE for name in names)
    total, vague = sum(counts.values()), sum(counts[name] for name in VAGUE)
    assert total > 10_000
    assert vague <= LARGEST_SHARE * total, (
        f"{vague} of {total} bound names are vague, most in {places.most_common(5)}: name the thing instead."
    )


def test_the_count_sees_arguments_and_assignments():
    names = bound_names("def f(what, *, code=1):\n    found = [part for part in code]\n    return found\n")
    assert sorted(names) == ["code", "found", "part", "what"]
