"""Conditions on a row, as `where` spells them: ``tenure < 30 and country in ["FR", "DE"]``. Pure.

The spelling is a small part of Python's: comparisons of a column with a constant, ``in`` and ``not in``, ``and``, ``or``,
``not``, brackets; ``missing(tenure)`` for a value that isn't there, and ``column("a name with spaces")``. Nothing is
executed: the text becomes the classes below, and whoever holds rows evaluates them.
"""

import ast
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "All",
    "AnyOf",
    "Comparison",
    "Condition",
    "Constant",
    "IsIn",
    "IsMissing",
    "Not",
    "Operator",
    "columns_of",
    "parse_where",
]

Constant = str | int | float | bool

MAX_CHARACTERS = 512
MAX_PARTS = 64
MAX_CHOICES = 64


class Operator(StrEnum):
    """How a column is compared with a constant."""

    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="

    @property
    def mirrored(self) -> "Operator":
        """The same comparison read from the other side."""
        return _MIRRORED.get(self, self)


_MIRRORED = {
    Operator.LESS: Operator.GREATER,
    Operator.AT_MOST: Operator.AT_LEAST,
    Operator.GREATER: Operator.LESS,
    Operator.AT_LEAST: Operator.AT_MOST,
}


@dataclass(frozen=True)
class Comparison:
    """A column against a constant; false where the value is missing or of another kind."""

    column: str
    operator: Operator
    constant: Constant


@dataclass(frozen=True)
class IsIn:
    """A column whose value is one of several."""

    column: str
    choices: tuple[Constant, ...]


@dataclass(frozen=True)
class IsMissing:
    """A column without a value."""

    column: str


@dataclass(frozen=True)
class Not:
    """What doesn't hold."""

    condition: "Condition"


@dataclass(frozen=True)
class All:
    """Several that hold together."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    """Several of which one holds."""

    conditions: tuple["Condition", ...]


Condition = Comparison | IsIn | IsMissing | Not | All | AnyOf

_OPERATORS: dict[type[ast.cmpop], Operator] = {
    ast.Eq: Operator.EQUAL,
    ast.NotEq: Operator.UNEQUAL,
    ast.Lt: Operator.LESS,
    ast.LtE: Operator.AT_MOST,
    ast.Gt: Operator.GREATER,
    ast.GtE: Operator.AT_LEAST,
}


def parse_where(text: str) -> Condition:
    """Read a condition.

    Raises
    ------
    ValueError
        Saying what to write instead.

    Examples
    --------
    >>> parse_where("tenure < 30")
    Comparison(column='tenure', operator=<Operator.LESS: '<'>, constant=30)
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"where has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(
            f"where {text!r} can't be read: {message}; write a condition such as age < 30"
        ) from error
    if sum(1 for _ in ast.walk(tree)) > MAX_PARTS * 4:
        raise ValueError(f"where is too long: at most about {MAX_PARTS} comparisons are allowed")
    return _read(tree.body)


def columns_of(condition: Condition) -> frozenset[str]:
    """Return the columns that a condition looks at."""
    match condition:
        case All(parts) | AnyOf(parts):
            return frozenset().union(*(columns_of(part) for part in parts))
        case Not(part):
            return columns_of(part)
        case _:
            return frozenset({condition.column})


def _read(node: ast.expr) -> Condition:  # noqa: PLR0911  one for each form
    match node:
        case ast.BoolOp(op=ast.And()):
            return All(tuple(_read(value) for value in node.values))
        case ast.BoolOp():
            return AnyOf(tuple(_read(value) for value in node.values))
        case ast.UnaryOp(op=ast.Not()):
            return Not(_read(node.operand))
        case ast.Compare(ops=[_]):
            return _read_comparison(node)
        case ast.Compare(left=left):
            sides = [left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return All(tuple(_read_comparison(ast.Compare(a, [op], [b])) for a, op, b in pairs))
        case ast.Call(func=ast.Name(id="missing"), args=[argument], keywords=[]):
            return IsMissing(_read_column(argument))
        case ast.Name(id=name):
            return Comparison(name, Operator.EQUAL, constant=True)
    raise _refusal(node, "isn't a condition: compare a column with a constant, as in age < 30")


def _read_comparison(node: ast.Compare) -> Condition:
    left, operator, right = node.left, node.ops[0], node.comparators[0]
    if isinstance(operator, ast.In | ast.NotIn):
        if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not 0 < len(right.elts) <= MAX_CHOICES:
            raise _refusal(
                right, f'has to be a list of 1 to {MAX_CHOICES} constants, as in country in ["FR", "DE"]'
            )
        found = IsIn(_read_column(left), tuple(_read_constant(item) for item in right.elts))
        return found if isinstance(operator, ast.In) else Not(found)
    sign = _OPERATORS.get(type(operator))
    if sign is None:
        raise _refusal(
            node, "isn't a comparison: use ==, !=, <, <=, >, >=, in or not in; missing(age) for no value"
        )
    if _is_constant(left):
        return Comparison(_read_column(right), sign.mirrored, _read_constant(left))
    return Comparison(_read_column(left), sign, _read_constant(right))


def _is_constant(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(inner, ast.Constant)


def _read_column(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))], keywords=[]):
            return name
    raise _refusal(node, 'isn\'t a column: write its name, or column("its name") if that has spaces')


def _read_constant(node: ast.expr) -> Constant:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if (
            not isinstance(value, bool)
        ):
            return -value
    raise _refusal(node, "isn't a constant: write a number, a text in quotes, True or False")


def _refusal(node: ast.AST, why: str) -> ValueError:
    return ValueError(f"where: {ast.unparse(node)[:100]!r} {why}")
