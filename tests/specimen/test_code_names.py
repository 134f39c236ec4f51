"""Names and imports in code, against sources written for the purpose."""

import textwrap

import pytest

from microtome.specimen.code_names import imports_in, imports_of, looks_up_any_name, names_of


def compiled(text):
    space = {}
    exec(compile(textwrap.dedent(text), "<test>", "exec"), space)
    return space["f"].__code__


def test_names_of_inner_functions_and_comprehensions_are_there():
    code = compiled("""
        def f(x):
            def inner(y):
                return [outer_name(z) for z in y if module.part(z)]
            return lambda: inner(x) + deep
    """)
    assert {"outer_name", "module", "part", "deep"} <= names_of(code)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("import alpha", ["alpha"]),
        ("import alpha.beta as b", ["alpha.beta"]),
        ("from alpha import beta", ["alpha", "alpha.beta"]),
        ("from . import beta", ["pkg.sub", "pkg.sub.beta"]),
        ("from .. import beta", ["pkg", "pkg.beta"]),
        ("from ..alpha import beta", ["pkg.alpha", "pkg.alpha.beta"]),
    ],
)
def test_imports_inside_functions_and_in_files(body, found):
    assert set(found) <= set(imports_of(compiled(f"def f():\n    {body}\n"), "pkg.sub"))
    assert imports_in(body.encode(), "pkg.sub") == found


def test_only_builtins_that_look_names_up_count_and_no_method_of_that_name():
    assert looks_up_any_name(compiled("def f(x):\n    return getattr(x, 'name')\n"))
    assert looks_up_any_name(compiled("def f(x):\n    return (lambda: globals()[x])()\n"))
    assert not looks_up_any_name(compiled("def f(x):\n    return x.eval()\n"))
