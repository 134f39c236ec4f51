"""What code mentions: the names it looks up, and the modules it imports while it runs or when its file is loaded."""

import ast
import dis
import types
from typing import Any

LOOKUPS = frozenset(("getattr", "globals", "vars", "eval", "exec", "locals"))  # builtins by which code can mean any name


def names_of(code: types.CodeType) -> set[str]:
    """The names that code, and code inside it, looks up."""
    result = set(code.co_names)
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            result |= names_of(each)
    return result


def looks_up_any_name(code: types.CodeType) -> bool:
    """Whether code, or code inside it, can look up a name that does not stand in it."""
    if LOOKUPS & set(code.co_names):
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in LOOKUPS:
                return True
    return any(isinstance(each, types.CodeType) and looks_up_any_name(each) for each in code.co_consts)


def imports_of(code: types.CodeType, package: str) -> list[str]:
    """The full names of the modules that code imports while it runs."""
    result: list[str] = []
    level: Any = 0
    last: list[Any] = []
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            level = last[-2] if len(last) > 1 else 0
            result += _absolute(str(step.argval), level if isinstance(level, int) else 0, package)
        elif step.opname == "IMPORT_FROM" and result:
            result.append(f"{result[-1]}.{step.argval}")
        last.append(step.argval)
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            result += imports_of(each, package)
    return result


def imports_in(source: bytes, package: str) -> list[str]:
    """The full names of the modules that a source file imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    result: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            result += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = _absolute(node.module or "", node.level, package)
            result += home + [f"{each}.{part.name}" for each in home for part in node.names]
    return result


def _absolute(name: str, level: int, package: str) -> list[str]:
    if not level:
        return [name] if name else []
    parts = package.split(".")[: len(package.split(".")) - level + 1]
    full = ".".join([*filter(None, parts), *([name] if name else [])])
    return [full] if full else []
