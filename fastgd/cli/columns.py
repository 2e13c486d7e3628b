"""Choose the columns of a fit, and explain those that cannot be used."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastgd.cli.errors import InputError
from fastgd.cli.options import FitOptions
from fastgd.cli.output import listed, plural
from fastgd.data import ReadOptions
from fastgd.data.engine import EngineTable
from fastgd.data.files import read_column
from fastgd.data.sparse import SparseTable
from fastgd.data.table import NonNumeric, Table
from fastgd.data.text_column import is_number
from fastgd.exceptions import TableError

#: Names that pandas and R give to columns that number the rows.
_INDEX_NAME = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
#: Most columns among which a message looks for similar names.
_MOST_COMPARED = 10_000
#: Most columns that a message describes.
_MOST_DESCRIBED = 8
_SIGNED = re.compile(r"^[-+]?\s*(?P<before>[$€£¥])?\s*[-+]?[\d.,' ]*\d\s*(?P<after>[$€£¥%])?$")
#: Spellings of numbers (decimal mark, mark of thousands), and the options that read them.
_SPELLINGS = (
    (",", "", "--decimal ,"),
    (".", ",", "--thousands ,"),
    (",", ".", "--decimal , --thousands ."),
    (".", "'", '--thousands "\'"'),
    (".", " ", '--thousands " "'),
    (",", " ", '--decimal , --thousands " "'),
)


@dataclass
class ChosenColumns:
    """The columns of a table by their use in a fit."""

    target: str
    weight: str | None
    numbers: list[str]
    one_hot: list[str]
    """Columns of categories."""
    names: list[str]
    """`numbers` and `one_hot` in the order of the table."""
    dropped: list[str]
    notes: list[str]
    warnings: list[str] = field(default_factory=list)


def choose_columns(table: Table, options: FitOptions) -> ChosenColumns:
    """Return the columns that the options choose; read the predictors and check that they are numbers."""
    attached = attach_files(table, options.target, options.weight, options.reading)
    if isinstance(table, SparseTable):
        _check_sparse(table, options, attached)
    # A name that several columns have stands for all of them.
    named = [table.repeated.get(name) or (find_column(table, name, "--drop"),) for name in options.drop or ()]
    dropped = list(dict.fromkeys(column for columns in named for column in columns))
    target = choose_target(table, options.target, dropped)
    one_hot = [find_column(table, name, "--one-hot") for name in options.one_hot or ()]
    if target in one_hot:
        raise InputError(f"--one-hot {target}: that is the target, which may hold classes as it is")
    if target in dropped:
        raise InputError(f"--drop {target}: that is the target")
    weight = _choose_weight(table, options, {"the target": [target], "in --drop": dropped, "in --one-hot": one_hot})
    used = {target, weight, *one_hot, *dropped}
    index = [] if isinstance(table, SparseTable) else _index_columns(table, used)
    dropped += index
    others = {target, weight, *dropped}
    if isinstance(table, SparseTable) and not dropped:
        names = list(table.features)
    else:
        names = [name for name in predictors(table) if name not in others]
    chosen = ChosenColumns(
        target,
        weight,
        numbers=[name for name in names if name not in one_hot] if one_hot else names,
        one_hot=[name for name in names if name in one_hot] if one_hot else [],
        names=names,
        dropped=dropped,
        notes=[*table.notes, *_notes_on_names(table, index), *_notes_on_labels(table, target)],
    )
    table.load(chosen.numbers, one_hot, [target], [] if weight is None else [weight])
    text = table.unusable(chosen.numbers) if options.drop_text else {}
    if text:
        _drop_text(table, chosen, text)
    if not chosen.names:
        left_out = f" (left out as text: {', '.join(map(repr, text))})" if text else ""
        raise InputError(f"no column is left to predict {target!r} from: drop fewer{left_out}")
    remedy = "leave them out: {}, or --drop-text for all; --one-hot takes a column of few different values"
    check_columns(table, chosen.numbers, remedy)
    return chosen


def predictors(table: Table) -> Sequence[str]:
    """Return the columns of a table that are no labels of a sparse source; the target may be among them."""
    return table.features if isinstance(table, SparseTable) else table.names


def _index_columns(table: Table, used: set[str | None]) -> list[str]:
    """Return the columns that number the rows."""
    found = [name for name in table.names if name in table.nameless or _INDEX_NAME.fullmatch(name)]
    return [name for name in found if name not in used]


def attach_files(table: Table, target: str | None, weight: str | None, reading: ReadOptions) -> list[str]:
    """Append the columns of files that --target and --weight name beside an array or a sparse source; return these."""
    attached: list[str] = []
    for option, name in (("--target", target), ("--weight", weight)):
        if name is None or isinstance(table, EngineTable) or _is_column(table, name) or not Path(name).is_file():
            continue
        try:
            table.add(name, read_column(name, reading, table.n_rows, is_target=option == "--target"))
        except TableError as error:
            raise InputError(f"{option}: {error}") from error
        attached.append(name)
    return attached


def _is_column(table: Table, name: str) -> bool:
    return name in table.names or name in table.repeated or (not table.named and name.lstrip("-").isdigit())


def _check_sparse(table: SparseTable, options: FitOptions, attached: Sequence[str]) -> None:
    """Raise `InputError` for options that a sparse source has no use for."""
    for option, given in (("--one-hot", options.one_hot), ("--drop-text", options.drop_text)):
        if given:
            raise InputError(f"{option}: all columns of a sparse source are numbers: leave it out")
    if options.weight is not None and (options.weight in table.features or options.weight not in table.names):
        raise InputError(
            f"--weight {options.weight}: a sparse source has no such column of weights: name a file of them (.npy, or a"
            " number per line), or an array of the .npz file"
        )
    if not attached:
        check_sparse_reading(options.reading)
    check_sparse_target(table, options.target)


def check_sparse_reading(reading: ReadOptions) -> None:
    """Raise `InputError` for options of delimited text, which a sparse source does not have."""
    given = {
        "--header": reading.header is not None,
        "--decimal": reading.decimal is not None,
        "--thousands": bool(reading.thousands),
        "--null": bool(reading.null),
    }
    wrong = [option for option, is_given in given.items() if is_given]
    if wrong:
        raise InputError(f"{', '.join(wrong)}: meant for CSV and the like, but the source is sparse: leave out")


def check_sparse_target(table: SparseTable, target: str | None) -> None:
    """Raise `InputError` if a sparse source has no labels, or if a feature is to be the target."""
    if table.default_target is None and target not in table.names:
        raise InputError(
            "the source is a sparse matrix without targets: name a file of them, such as --target y.npy, or add them as"
            " an array y, in Python numpy.savez('new.npz', y=y, **numpy.load('old.npz'))"
        )
    if target is not None and target in table.features:
        raise InputError(
            f"--target {target}: that is a feature of a sparse source, whose target is {table.default_target!r}:"
            " leave it out"
        )


def find_column(table: Table, name: str, option: str) -> str:
    """Return the column that `name` stands for: its name or, in a file without names, its position from 1 or -1."""
    if name in table.repeated:
        alike = table.repeated[name]
        raise InputError(
            f"{option}: {len(alike)} columns are called {name!r}, here {' and '.join(alike)}: leave out all but one"
            f" with {drop_options(alike[1:])}, or rename them in the file"
        )
    if name in table.names:
        return name
    if not table.named and name.lstrip("-").isdigit() and 1 <= abs(int(name)) <= len(table.names):
        position = int(name)
        return table.names[position - 1 if position > 0 else position]
    raise InputError(f"{option}: there is no column {name!r}; {_hint(table, name, option)}")


def choose_target(table: Table, name: str | None, dropped: Sequence[str] = ()) -> str:
    """Return the target column: the one asked for, else the one that the source marks."""
    if name is None:
        if table.default_target is None:
            raise InputError(f"--target is missing: name the column to predict; {_list_columns(table)}")
        return table.default_target
    left = [column for column in table.repeated.get(name, ()) if column not in dropped]
    return left[0] if len(left) == 1 else find_column(table, name, "--target")


def drop_options(names: Sequence[str]) -> str:
    """Return the options that leave out some columns, as a shell takes them."""
    return " ".join(f"--drop {shlex.quote(name)}" for name in names)


def check_columns(table: Table, names: Sequence[str], remedy: str) -> None:
    """Raise `InputError` naming the columns that are not numbers, with a value of theirs and its line."""
    unusable = table.unusable(names)
    if not unusable:
        return
    shown = list(unusable)[:_MOST_DESCRIBED]
    described = listed([_describe(table, name, kind) for name, kind in unusable.items()], _MOST_DESCRIBED)
    advice = next(filter(None, (advise(table.non_numeric(name)) for name in shown)), None)
    drop = drop_options(shown) + (" ..." if len(unusable) > len(shown) else "")
    raise InputError(f"columns that are not numbers: {described}; {advice or remedy.format(drop)}")


def counted(counts: Mapping[str, int]) -> str:
    """Return columns with their counts of rows for a message."""
    return listed([f"{name!r} ({plural(count, 'row')})" for name, count in counts.items()], noun="column")


def advise(found: NonNumeric) -> str | None:
    """Return how to read a column of numbers in another spelling, or of a few odd values among numbers; None for text.

    An option is named only if it reads all the values as the numbers they spell.
    """
    values = [example.value.strip() for example in found.examples]
    if not values:
        return None
    fitting = [
        option
        for decimal, thousands, option in _SPELLINGS
        if all(is_number(value, decimal, thousands) for value in values)
    ]
    # A group of thousands never begins with 0, so that a comma after one is a decimal mark.
    is_decimal = any(value.lstrip("+-").startswith("0") for value in values)
    if fitting[:2] == ["--decimal ,", "--thousands ,"] and not is_decimal:
        return (
            "its values are numbers: if the commas group thousands, use --thousands ,; if they are decimal marks,"
            " use --decimal ,"
        )
    if fitting:
        return f"its values are numbers: use {fitting[0]}"
    signed = [_SIGNED.match(value) for value in values]
    signs = {match["before"] or match["after"] for match in signed if match}
    if all(signed) and any(signs):
        return f"its values are numbers with a sign: remove {' and '.join(sorted(filter(None, signs)))} in the file"
    if len(values) >= found.n_values / 2:
        return None
    first = found.examples[0]
    if all(example.value == first.value for example in found.examples):
        return f"most of its values are numbers: correct it, or read it as missing: --null {shlex.quote(first.value)}"
    return f"most of its values are numbers: correct the others, from line {first.line:,} on"


def _choose_weight(table: Table, options: FitOptions, others: dict[str, list[str]]) -> str | None:
    """Return the column of weights, which has no other role."""
    if options.weight is None:
        return None
    weight = find_column(table, options.weight, "--weight")
    for role, names in others.items():
        if weight in names:
            raise InputError(f"--weight {options.weight}: that column is {role} as well: give it one role")
    return weight


def _notes_on_names(table: Table, index: Sequence[str]) -> list[str]:
    notes = [
        f"{len(made)} columns are called {name!r}; they are named {', '.join(made)}"
        for name, made in table.repeated.items()
    ]
    for name in index:
        why = "has no name" if name in table.nameless else "is named like an index of pandas"
        notes.append(f"column {name!r} is left out: it {why}; give it another name to use it")
    return notes


def _notes_on_labels(table: Table, target: str) -> list[str]:
    """Return a note on labels of a sparse source that another target replaces."""
    label = table.default_target if isinstance(table, SparseTable) else None
    return (
        [] if label in {None, target} else [f"the {label!r} of the source is not used: --target {target} replaces it"]
    )


def _drop_text(table: Table, chosen: ChosenColumns, text: Mapping[str, str]) -> None:
    """Leave out columns of text, noting them and warning of those that hold numbers in another spelling."""
    described = ", ".join(_describe(table, name, kind) for name, kind in text.items())
    chosen.notes.append(f"--drop-text leaves out {described}")
    for name in text:
        advice = advise(table.non_numeric(name))
        if advice is not None:
            chosen.warnings.append(f"column {name!r} is left out as text, but {advice}")
    chosen.dropped += text
    chosen.names = [name for name in chosen.names if name not in text]
    chosen.numbers = [name for name in chosen.numbers if name not in text]


def _describe(table: Table, name: str, kind: str) -> str:
    example = next(iter(table.non_numeric(name).examples), None)
    if example is None:
        return f"{name!r} ({kind})"
    where = f" in line {example.line:,}" if example.line else ""
    return f"{name!r} ({kind}: {example.value[:40]!r}{where})"


def _hint(table: Table, name: str, option: str) -> str:
    if Path(name).is_file():
        return "a file of values goes with .npy, .npz and libsvm alone: add its values as a column of the table"
    parts = name.split(",")
    if len(parts) > 1 and option != "--target" and all(part in table.names for part in parts):
        return "give the option once per column: " + " ".join(f"{option} {shlex.quote(part)}" for part in parts)
    compared = table.names[:_MOST_COMPARED]
    close = difflib.get_close_matches(name, compared, n=3)
    close = close or [other for other in compared if other.lower() == name.lower()]
    return f"did you mean {' or '.join(map(repr, close))}?" if close else _list_columns(table)


def _list_columns(table: Table) -> str:
    if table.named:
        return f"the columns are {listed(table.names)}"
    return (
        f"the file has no names: give a position from 1 to {len(table.names)}, or -1 for the last column;"
        " if its first line names the columns, use --header"
    )
