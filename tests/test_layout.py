"""Tests mirror the package: `src/microtome/a/b.py` is tested by `tests/a/test_b.py`; what differs is listed here with its reason."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "microtome"
MODULES = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
TESTS = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
MIN_STATEMENTS = 3
DECISIONS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.Match, ast.Try, ast.comprehension)

# Modules whose tests lie under another name: module -> test file, and why.
ELSEWHERE = {
    "__init__.py": ("test_lazy_names.py", "names imported on demand"),
    "analyses/__init__.py": ("test_lazy_names.py", "names imported on demand"),
    "edits/__init__.py": ("test_lazy_names.py", "names imported on demand"),
    "analyses/audit/run.py": ("analyses/audit/test_network_rules.py", "runs the rules, one planted fault each"),
    "analyses/cam/arrays.py": ("analyses/cam/test_cam.py", "every array, against captum and by hand"),
    "analyses/cam/questions.py": ("analyses/cam/test_targets.py", "options and the targets they ask for, together"),
    "analyses/evolution/units_over_training.py": (
        "analyses/evolution/test_evolution.py",
        "reads the checkpoints of a training made there",
    ),
    "cli/__init__.py": ("cli/test_cli.py", "glue: the command line is tested as a whole"),
    "cli/arguments.py": ("cli/test_cli.py", "glue"),
    "cli/collating.py": ("cli/test_cli.py", "glue"),
    "cli/doctor.py": ("cli/test_cli.py", "glue"),
    "cli/editing.py": ("cli/test_cli.py", "glue"),
    "cli/experimenting.py": ("training/experiment/test_command_line.py", "the verb"),
    "cli/measuring.py": ("cli/test_cli.py", "glue"),
    "cli/telling.py": ("cli/test_cli.py", "glue"),
    "cli/verbs.py": ("cli/test_cli.py", "glue"),
    "networks/__init__.py": ("networks/test_mini.py", "the registry"),
    "numerics/__init__.py": ("numerics/transferability/test_evidence.py", "the one public name"),
}

# Tests that mirror no one module: a file, or a folder with its slash, and why.
WHOLE = {
    "benchmarks/": "the benchmarks beside the package",
    "browser/": "the page in Chromium",
    "docs/": "what the documentation says",
    "analyses/audit/test_network_rules.py": "rules of the audit together",
    "analyses/test_any_channels.py": "every analysis on networks of other than three channels",
    "cli/test_cli.py": "the command line as a whole",
    "figures/test_figures.py": "what every kind of panel has in common",
    "images/test_real_folders.py": "photographs, where they are",
    "networks/test_literature.py": "counts and names across the networks of the literature",
    "cli/test_words.py": "all that the command line prints of tiny networks",
    "networks/test_mini.py": "the shipped weights of all small networks",
    "numerics/receptive/test_generated.py": "generated networks against gradients",
    "numerics/statistics/test_coverage.py": "the levels of all intervals, by simulation",
    "specimen/test_real_networks.py": "trained networks, where they are",
    "specimen/test_structure.py": "blocks, stages and aliases of generated networks together",
    "replicate/test_foreign_claims.py": "claims of other packages",
    "replicate/test_claims.py": "every claim: protocol, committed result, and the quick ones run again",
    "test_example_package.py": "the example package, installed",
    "test_families.py": "every analysis on every family",
    "test_hints.py": "hints and exit codes of wrong calls, of the whole package",
    "test_language.py": "words of the whole package and its pages",
    "test_layout.py": "this file",
    "test_lazy_names.py": "names that packages import on demand",
    "test_names.py": "names of the whole package",
    "test_without_twins.py": "every analysis without untrained twins",
    "training/experiment/test_command_line.py": "the verb of experiments",
    "training/zoo/test_segmenting.py": "learning masks: targets, loop and judging together",
}


def holds_logic(tree: ast.Module) -> bool:
    """Whether a function or method has three statements or a decision; declarations of a Protocol do not count."""
    protocols = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and "Protocol" in map(_name, node.bases)]
    declared = {inner for protocol in protocols for inner in ast.walk(protocol)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(_does_something(node) for node in functions if node not in declared)


def _name(base: ast.expr) -> str:
    return ast.unparse(base).partition("[")[0].rpartition(".")[2]


def _does_something(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = function.body[ast.get_docstring(function) is not None :]
    decides = any(isinstance(node, DECISIONS) for statement in body for node in ast.walk(statement))
    return decides or len(body) >= MIN_STATEMENTS


def mirror(module: str) -> str:
    """The test file of a module: `a/b.py` -> `a/test_b.py`."""
    folder, slash, name = module.rpartition("/")
    return f"{folder}{slash}test_{name}"


LOGIC = {module for module, path in MODULES.items() if holds_logic(ast.parse(path.read_text(encoding="utf-8")))}


ELSEWHERE |= {
    module: ("replicate/test_claims.py", "claims: one test holds every file to its protocol and runs those that are quick")
    for module in LOGIC
    if module.startswith("replicate/claims/")
}


def test_logic_is_told_from_declarations() -> None:
    def logic(text: str) -> bool:
        return holds_logic(ast.parse(text))

    assert logic("def f(x):\n    if x: return 1\n") and logic("def f():\n    'Doc.'\n    a = 1\n    b = 2\n    return a + b\n")
    assert logic("class A:\n    def f(self): return [x for x in self]\n") and logic("async def f():\n    while True: pass\n")
    assert not logic("X = [x for x in range(3)]\n") and not logic("def f():\n    'Doc.'\n    a = 1\n    return a\n")
    assert not logic("class A(Protocol[T]):\n    def f(self):\n        for x in self: pass\n")
    assert mirror("a/b.py") == "a/test_b.py" and mirror("b.py") == "test_b.py"
    assert len(LOGIC) > 200


def test_every_module_with_logic_has_its_test() -> None:
    assert sorted(one for one in LOGIC - ELSEWHERE.keys() if mirror(one) not in TESTS) == []


def test_every_test_mirrors_a_module() -> None:
    mirrors = {mirror(module) for module in MODULES}
    assert [one for one in sorted(TESTS - mirrors) if not one.startswith(tuple(WHOLE))] == []


def test_every_exception_is_still_needed() -> None:
    assert [one for one, (test, _) in ELSEWHERE.items() if one not in LOGIC or test not in TESTS or mirror(one) in TESTS] == []
    mirrors = {mirror(module) for module in MODULES}
    assert [one for one in WHOLE if not any(test.startswith(one) for test in TESTS - mirrors)] == []
