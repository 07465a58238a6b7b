"""Every word that overread gives as a reason, a refusal's or a note's, stands in docs/reasons.md; and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import overread
from overread.domain.notes import FREE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(overread.__file__).parent
REASONS = ROOT / "docs" / "reasons.md"
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def codes(trees: list[ast.Module]) -> dict[str, set[str]]:
    """Return every code in the source by the way it is given: "refusal" or "note"."""
    takes_code = {"Refused": 1, "noted": 0}  # which argument, counted from the first, is the code
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (place := _place_of_code(node)) is not None:
                takes_code.setdefault(node.name, place)
    found: dict[str, set[str]] = {"refusal": set(), "note": {FREE}}
    for tree in trees:
        constants = _constants(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                place = takes_code.get(name)
                given = [k.value for k in node.keywords if k.arg == "code"]
                if place is not None and len(node.args) > place:
                    given.append(node.args[place])
                if name == "append" and getattr(node.func.value, "id", "") == "refused":
                    given += [a.elts[1] for a in node.args if isinstance(a, ast.Tuple) and len(a.elts) == 3]
                kind = "note" if name == "noted" else "refusal"
                found[kind].update(word for value in given for word in _words(value, constants))
            elif isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["code"]:
                found["refusal"].update(_words(node.value, {}))
            elif isinstance(node, ast.Tuple | ast.List) and len(node.elts) == 3 and _is_code_triple(node):
                found["refusal"].update(_words(node.elts[1], {}))
    return found


def _place_of_code(node: ast.FunctionDef | ast.ClassDef) -> int | None:
    """Return where a function of ours takes an argument named code."""
    if isinstance(node, ast.ClassDef):
        return None
    names = [a.arg for a in node.args.args if a.arg != "self"]
    return names.index("code") if "code" in names else None


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _words(value: ast.expr, constants: dict[str, ast.expr]) -> set[str]:
    """Return the literal codes that an expression can be."""
    if isinstance(value, ast.Constant):
        return {value.value} if isinstance(value.value, str) and KEBAB.fullmatch(value.value) else set()
    if isinstance(value, ast.IfExp):
        return _words(value.body, constants) | _words(value.orelse, constants)
    if isinstance(value, ast.BoolOp):
        return set().union(*(_words(v, constants) for v in value.values))
    if isinstance(value, ast.Name) and value.id in constants:
        return _words(constants[value.id], {})
    return set()


def _is_code_triple(node: ast.Tuple | ast.List) -> bool:
    """(file, "some-code", "why …"): a refusal written by hand."""
    file, code, why = node.elts
    return (
        isinstance(code, ast.Constant)
        and isinstance(code.value, str)
        and "-" in code.value
        and KEBAB.fullmatch(code.value) is not None
        and isinstance(why, ast.Constant)
        and isinstance(why.value, str)
        and " " in why.value
        and not isinstance(file, ast.Constant)
    )


def documented(text: str) -> set[str]:
    """Return the words that have a paragraph of their own."""
    return set(re.findall(r"^### `([a-z0-9-]+)`$", text, re.MULTILINE))


def without_advice(text: str) -> list[str]:
    """Return the words whose paragraph does not say what to do."""
    parts = re.split(r"^#+ ", text, flags=re.MULTILINE)
    named = {m.group(1): part for part in parts if (m := re.match(r"`([a-z0-9-]+)`\n", part))}
    return sorted(word for word, part in named.items() if len(part.strip().splitlines()) < 2)


def source() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]


def test_every_reason_that_is_given_is_documented():
    given, text = codes(source()), REASONS.read_text(encoding="utf-8")
    assert given["refusal"] - documented(text) == set()
    assert given["note"] - documented(text) == set()
    assert len(given["refusal"]) >= 40 and len(given["note"]) >= 3  # the gathering itself works


def test_no_reason_is_documented_that_is_never_given():
    given = codes(source())
    assert documented(REASONS.read_text(encoding="utf-8")) - given["refusal"] - given["note"] == set()


def test_every_paragraph_says_something():
    assert without_advice(REASONS.read_text(encoding="utf-8")) == []


def test_an_undocumented_reason_is_found():
    """Twin: each way of giving a reason is seen, and one that is not documented turns the promise red."""
    ways = """
WHY = "by-constant"
def refuse(part, code, came): ...
refuse(1, "by-helper", "x")
raise UnreadableFile("x", code="by-keyword" if y else "by-other-branch")
Refused(name, "by-place", "x")
noted("a-note", f"x {y}"); noted(WHY, "x")
code = "by-variable"
entry["refused"] = [[name, "by-triple", "a reason in words"]]
refused.append((str(file), "by-append", str(e)))
"""
    given = codes([ast.parse(ways)])
    assert given["note"] == {"a-note", "by-constant", FREE}
    assert given["refusal"] == {
        *("by-helper", "by-keyword", "by-other-branch", "by-place", "by-variable", "by-triple", "by-append"),
    }
    text = REASONS.read_text(encoding="utf-8")
    assert given["refusal"] - documented(text) == given["refusal"]
    missing = text.replace("### `gantry-tilt`", "### `tilt`")
    assert "gantry-tilt" in codes(source())["refusal"] - documented(missing)
    assert "tilt" in documented(missing) - codes(source())["refusal"]


def test_an_empty_paragraph_is_found():
    """Twin."""
    assert without_advice("### `said`\nwhat it is.\n\n### `empty`\n\n## Next\n") == ["empty"]
