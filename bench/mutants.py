"""Mutants of a source file: one operator, comparison, constant, call or statement changed at a time."""

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

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
    for parent, container, key in list(_sites(tree)):
        original = container[key]
        # A constant is shown in its expression.
        constant = isinstance(original, ast.Constant)
        before = _first_line(parent if constant else original)
        for replacement in _replacements(original):
            container[key] = replacement
            ast.fix_missing_locations(tree)
            after = _first_line(parent if constant else replacement)
            yield Mutant(getattr(original, "lineno", 0), f"{before}  ->  {after}", ast.unparse(tree))
        container[key] = original


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0]


def _sites(node: ast.AST) -> Iterator[tuple[ast.AST, Any, Any]]:
    """Iterate over nodes that may be changed: the parent, and the list or fields and the key in them."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        container, keys = (value, range(len(value))) if isinstance(value, list) else (vars(node), (name,))
        for key in keys:
            child = container[key]
            if isinstance(child, ast.AST) and not _left_alone(child):
                yield node, container, key
                yield from _sites(child)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


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
