import tomllib
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from rts.trial.lines import Path, lines_of
from tests.trial.texts import PUBLIC, RESTRICTED


def paths_in(value: object, path: Path = ()) -> set[Path]:
    """Every path of a parsed TOML value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: set[Path] = set()
    for step, inner in steps:
        found |= {(*path, step)} | paths_in(inner, (*path, step))
    return found


def test_every_key_has_the_line_it_stands_on() -> None:
    text = '''# first line is a comment, with [brackets] and "quotes
title = "a # no comment"

[a.b]
c.d = 1
"quo\\"ted" = [
  1, # one
  { x = 2, 'y z' = "]" },
]
[[rows]]
n = """
[not.a.header]
k = 1"""
[rows.deep]
m = 2026-01-05 # a date
[[rows]]
n = \'\'\'two''\'\'\'
'''

    assert lines_of(text) == {
        ("title",): 2,
        ("a",): 4,
        ("a", "b"): 4,
        ("a", "b", "c"): 5,
        ("a", "b", "c", "d"): 5,
        ("a", "b", 'quo"ted'): 6,
        ("a", "b", 'quo"ted', 0): 7,
        ("a", "b", 'quo"ted', 1): 8,
        ("a", "b", 'quo"ted', 1, "x"): 8,
        ("a", "b", 'quo"ted', 1, "y z"): 8,
        ("rows",): 10,
        ("rows", 0): 10,
        ("rows", 0, "n"): 11,
        ("rows", 0, "deep"): 14,
        ("rows", 0, "deep", "m"): 15,
        ("rows", 1): 16,
        ("rows", 1, "n"): 17,
    }


def test_the_scanner_finds_exactly_the_paths_of_the_shipped_texts() -> None:
    for text in (PUBLIC, RESTRICTED):
        assert set(lines_of(text)) == paths_in(tomllib.loads(text))


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def inline(value: object) -> str:
    """`value` in TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[ " + ", ".join(map(inline, value)) + " ]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(key)} = {inline(inner)}" for key, inner in value.items()) + " }"
    return str(value)


def document(table: dict[str, object], at: str = "") -> str:
    """`table` in TOML with headers, one key a line, comments and blank lines between."""
    own = [key for key in table if not _is_spread(table[key])]
    text = "".join(f"{quoted(key)} = {inline(table[key])} # said = [so]\n\n" for key in own)
    for key in table:
        value = table[key]
        header = f"{at}.{quoted(key)}" if at else quoted(key)
        if isinstance(value, dict) and _is_spread(value):
            text += f"[{header}]\n" + document(value, header)
        elif isinstance(value, list) and _is_spread(value):
            text += "".join(f"  [[ {header} ]]\n" + document(element, header) for element in value)
    return text


def _is_spread(value: object) -> bool:
    """True for what `document` writes under headers of its own: tables and arrays of tables."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(element, dict) for element in value)
    return isinstance(value, dict)


names = st.text(alphabet="ab.#=\"'[]{} \\é", min_size=1, max_size=4)
leaves = (
    st.booleans()
    | st.integers(-9, 9)
    | st.dates(date(2020, 1, 1), date(2030, 1, 1))
    | st.text(alphabet="x\"'#[]{}=,\\ ", max_size=6)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(names, values, max_size=5))
def test_the_scanner_agrees_with_the_parser_on_any_text(table: dict[str, object]) -> None:
    text = document(table)
    rows = text.split("\n")

    lines = lines_of(text)

    assert tomllib.loads(text) == table
    assert set(lines) == paths_in(table)
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert quoted(path[-1]) in rows[line - 1]
