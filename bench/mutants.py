"""Mutants of a source file: one operator, comparison, constant, call or statement changed at a time."""

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

_BINARY: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
#: Comparison -> the one that differs at equality, and the opposite one.
_COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_SWAPPED = (("maximum", "minimum"), ("max", "min"), ("any", "all"), ("floor", "ceil"), ("sum", "prod"))
_CALLS = {one: other for pair in _SWAPPED for one, other in (pair, pair[::-1])}
#: Calls that are replaced by their argument.
_DROPPED = {"abs", "sqrt", "exp", "log1p", "log", "sign"}


class Mutant(NamedTuple):
    """A changed module: the line and the change."""

    line: int
    change: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Iterate over all mutants of a module.

    Annotations, docstrings, decorators, error messages, `__all__` and code for type checkers are not changed.
    """
    tree = ast.parse(source)
    for path in _sites(tree, ()):
        original = _at(tree, path)
        # A constant is shown in its expression.
        shown = path[:-1] if isinstance(original, ast.Constant) else path
        for replacement in _replacements(original):
            changed = copy.deepcopy(tree)
            _put(changed, path, replacement)
            ast.fix_missing_locations(changed)
            change = "  ->  ".join(_first_line(_at(where, shown)) for where in (tree, changed))
            yield Mutant(getattr(original, "lineno", 0), change, ast.unparse(changed))


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0]


#: Field names and list positions from the root to a node.
_Path = tuple[tuple[str, int | None], ...]


def _sites(node: ast.AST, path: _Path) -> Iterator[_Path]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if isinstance(child, ast.AST) and not _left_alone(child):
                here = (*path, (name, index if isinstance(value, list) else None))
                yield here
                yield from _sites(child, here)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _at(tree: ast.AST, path: _Path) -> ast.AST:
    node: ast.AST = tree
    for name, index in path:
        value = getattr(node, name)
        node = value if index is None else value[index]
    return node


def _put(tree: ast.AST, path: _Path, replacement: ast.AST) -> None:
    parent, (name, index) = _at(tree, path[:-1]), path[-1]
    if index is None:
        setattr(parent, name, replacement)
    else:
        getattr(parent, name)[index] = replacement


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    """Iterate over replacements of a node."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _BINARY:
        yield _with(node, op=_BINARY[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind in _COMPARISONS[type(node.ops[0])]:
            yield _with(node, ops=[kind()])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(2.0 * value if value else 1.0)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in _CALLS:
        other = _CALLS[name]
        yield _with(node, func=_with(function, **{"attr" if isinstance(function, ast.Attribute) else "id": other}))
    if name in _DROPPED and len(node.args) == 1:
        yield node.args[0]
