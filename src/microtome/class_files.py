"""What a file says of its class without being imported, by its syntax tree: the names of bases, and constants."""

import ast
from typing import Any


def base_name(base: ast.expr) -> str:
    """The last word of a base class: `Census` for `Census`, `analysis.Census` and `Census[Rows]`."""
    if isinstance(base, ast.Subscript):
        return base_name(base.value)
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""


def class_constants(node: ast.ClassDef | ast.Module) -> dict[str, Any]:
    """Variables of a class or module whose values are literals."""
    constants: dict[str, Any] = {}
    for line in node.body:
        targets = [line.target] if isinstance(line, ast.AnnAssign) else line.targets if isinstance(line, ast.Assign) else []
        value = getattr(line, "value", None)
        if value is not None and targets and isinstance(targets[0], ast.Name) and isinstance(value, ast.Constant):
            constants[targets[0].id] = value.value
    return constants
