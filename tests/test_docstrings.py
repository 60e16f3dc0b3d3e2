"""Docstrings are numpydoc that numpydoc's own parser reads, and say all that a caller needs.

Of public names: every parameter, every field of a dataclass, what is returned or yielded, and every error that the
body raises. Commands are told apart: their docstrings are help pages.
"""

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extract", "store", "analysis", "reports", "src/qloc")
MODULES = sorted(
    path
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if "src/qloc/cli" not in str(path.relative_to(ROOT))
)
READ_BY_NAME = {"property", "cached_property", "overload"}
SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises")


def public(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, ast.ClassDef | None]]:
    """Yield public functions, classes, and methods with their class."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node, None
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef))
            yield from ((inner, node) for inner in methods if not inner.name.startswith("_"))


def decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    return {ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list}


def parameters(node: ast.FunctionDef, of: ast.ClassDef | None) -> list[str]:
    names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
    if of is not None and "staticmethod" not in decorators(node):
        names = names[1:]
    names += [f"*{node.args.vararg.arg}"] if node.args.vararg else []
    names += [argument.arg for argument in node.args.kwonlyargs]
    return names + ([f"**{node.args.kwarg.arg}"] if node.args.kwarg else [])


def fields(node: ast.ClassDef) -> list[str]:
    """Return the public fields of a dataclass that have no docstring of their own behind them."""
    bodies = [*node.body, None]
    return [
        statement.target.id
        for statement, behind in zip(node.body, bodies[1:], strict=True)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and not statement.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(statement.annotation)
        and not (isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant))
    ]


def names(doc: NumpyDocString, *sections: str) -> list[str]:
    entries = (entry.name or entry.type for section in sections for entry in doc[section])
    return [name.strip() for entry in entries for name in entry.split(",")]


def raised(node: ast.FunctionDef) -> set[str]:
    calls = (
        each.exc.func
        for each in ast.walk(node)
        if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call)
    )
    errors = {ast.unparse(call) for call in calls if ast.unparse(call).endswith("Error")}
    return errors - {"AssertionError", "NotImplementedError"}


def returns(node: ast.FunctionDef) -> bool:
    said = None if node.returns is None else ast.unparse(node.returns)
    return said not in (None, "None", "NoReturn", "Never")


def problems(node: ast.FunctionDef | ast.ClassDef, of: ast.ClassDef | None) -> Iterator[str]:
    """Yield what is missing in one docstring."""
    text = ast.get_docstring(node)
    if text is None:
        if "overload" not in decorators(node):
            yield "has no docstring"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doc = NumpyDocString(text)
    for section in SECTIONS:
        for entry in doc[section]:
            if not "".join(entry.desc).strip():
                yield f"{section}: {entry.name or entry.type!r} has no meaning indented under it"
    if isinstance(node, ast.ClassDef):
        if any("dataclass" in name for name in decorators(node)):
            missing = set(fields(node)) - set(names(doc, "Parameters", "Attributes"))
            yield from (f"field {name} is not documented" for name in sorted(missing))
        return
    if decorators(node) & READ_BY_NAME:
        return
    wanted, told = parameters(node, of), names(doc, "Parameters")
    yield from (f"parameter {name} is not documented" for name in wanted if name not in told)
    yield from (f"{name} is documented, and no parameter" for name in told if name not in wanted)
    if returns(node) and not doc["Returns"] and not doc["Yields"]:
        yield "does not say what it returns"
    yield from (
        f"raises {name}, and does not say so" for name in sorted(raised(node) - set(names(doc, "Raises")))
    )


def test_what_is_missing_is_seen():
    code = '''
def share(value, *, of):
    """Return a share.

    Parameters
    ----------
    value : float
        The part.
    """
    raise InputError("no")
'''.replace("*, of)", "*, of) -> float")
    (node,) = ast.parse(code).body
    assert isinstance(node, ast.FunctionDef)
    assert list(problems(node, None)) == [
        "parameter of is not documented",
        "does not say what it returns",
        "raises InputError, and does not say so",
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_say_all(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lost = [
        f"{path.relative_to(ROOT)}:{node.lineno} {f'{of.name}.' if of else ''}{node.name}: {problem}"
        for node, of in public(tree)
        for problem in problems(node, of)
    ]
    assert lost == []
