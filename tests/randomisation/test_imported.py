"""Lists made elsewhere: taken as given, or refused by line and rule without a word of what a line says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.commitment import subject_leaf, tree_hash
from rts.randomisation.imported import MOST_MISTAKES_TOLD, ImportedListInputs, read_imported_list
from rts.randomisation.numbers import check_digits
from rts.randomisation.streams import ListStreams
from rts.refusal import Refusal

INPUTS = ImportedListInputs(
    seed=bytes(range(32)),
    list_id="I1",
    prefix="R",
    strata=("low", "high"),
    arms=("xq", "zv"),
    has_check_digits=False,
)
HEADER = "stratum,position,number,arm"
ROWS = ["low,1,R101,xq", "low,2,R107,zv", "high,1,R103,zv", "high,2,R110,xq", "high,3,R102,xq"]
GOOD = "\n".join([HEADER, *ROWS]) + "\n"


def csv_of(*rows, header=HEADER):
    return "\n".join([header, *rows]) + "\n"


def with_line(line, content):
    """The good file with another line of that number (the header is line 1)."""
    lines = GOOD.splitlines()
    lines[line - 1] = content
    return "\n".join(lines) + "\n"


def read(text, **changed):
    return read_imported_list(replace(INPUTS, **changed), text)


def refused(text, **changed):
    with pytest.raises(Refusal) as refusal:
        read(text, **changed)
    assert refusal.value.code == "invalid"
    return refusal.value


def found(refusal):
    return [(failed.rule, failed.field, str(failed.message)) for failed in refusal.failed]


# --- taken as given ---


def test_entries_and_numbers_are_as_given_and_salts_from_the_fresh_seed():
    salts = ListStreams(INPUTS.seed, "rts/imported/1", "I1").blocks("salts")

    made = read(GOOD)

    assert [(e.stratum, e.position, e.number, e.arm) for e in made.entries()] == [
        ("low", 1, "R101", "xq"),
        ("low", 2, "R107", "zv"),
        ("high", 1, "R103", "zv"),
        ("high", 2, "R110", "xq"),
        ("high", 3, "R102", "xq"),
    ]
    assert made.strata == (("low", 2), ("high", 3))
    assert b"".join(made.salts) == b"".join(next(salts) for _ in range(3))[:80]
    leaves = [subject_leaf(e.stratum, e.position, e.number, e.arm, e.salt) for e in made.entries()]
    assert made.commitment() == tree_hash(leaves).hex()


@given(st.permutations(ROWS))
def test_rows_may_stand_in_any_order(rows):
    assert read(csv_of(*rows)) == read(GOOD)


def test_positions_are_ordered_as_numbers_and_not_as_text():
    rows = [f"low,{position},R{position},xq" for position in range(12, 0, -1)]

    made = read(csv_of(*rows), strata=("low",))

    assert made.numbers == [f"R{position}" for position in range(1, 13)]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.removesuffix("\n"),
        GOOD.replace("xq", '"xq"').replace("stratum", '"stratum"'),
    ],
    ids=["byte order mark", "CRLF", "no last line end", "quoted"],
)
def test_what_spreadsheets_sas_and_r_write_is_read(text):
    assert read(text) == read(GOOD)


def test_a_comma_and_a_quote_within_quotes_belong_to_the_code():
    made = read(GOOD.replace("low", '"1,5 ""or"" less"'), strata=('1,5 "or" less', "high"))
    assert made.strata == (('1,5 "or" less', 2), ("high", 3))


def test_numbers_with_right_check_digits_are_read():
    numbers = [f"R{value}{check_digits(value)}" for value in (5143, 1001, 9000)]
    rows = [f"low,{position},{number},xq" for position, number in enumerate(numbers, start=1)]

    assert read(csv_of(*rows, "high,1,R77,zv"), has_check_digits=False).numbers[:3] == numbers
    assert read(csv_of(*rows), strata=("low",), has_check_digits=True).numbers == numbers


# --- the file as a whole ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("import.empty", "file", "the file is empty")),
        ("\ufeff", ("import.empty", "file", "the file is empty")),
        ("\n", ("import.empty", "file", "the file is empty")),
        (HEADER + "\n", ("import.no_rows", "file", "the file has a header line and no rows")),
        (GOOD.replace(",", ";"), ("import.delimiter", "file", "line 1: columns must be separated by commas")),
        (GOOD.replace(",", "\t"), ("import.delimiter", "file", "line 1: columns must be separated by commas")),
        (GOOD.replace(",", "|"), ("import.delimiter", "file", "line 1: columns must be separated by commas")),
        (
            csv_of("low,1,R101", header="stratum,position,number"),
            ("import.column_missing", "file", "line 1: the column arm is missing"),
        ),
        (
            csv_of("1,R101,xq", header="position,number,arm"),
            ("import.column_missing", "file", "line 1: the column stratum is missing"),
        ),
        (csv_of(*ROWS, header=ROWS[0]), ("import.column_missing", "file", "line 1: the column stratum is missing")),
        (
            csv_of("low,1,R101,xq,4", header=HEADER + ",block"),
            (
                "import.column_extra",
                "file",
                "line 1: only the columns stratum, position, number, arm are allowed (R: row.names = FALSE)",
            ),
        ),
        (
            csv_of('"1",low,1,R101,xq', header='"",' + HEADER),
            (
                "import.column_extra",
                "file",
                "line 1: only the columns stratum, position, number, arm are allowed (R: row.names = FALSE)",
            ),
        ),
        (
            csv_of("low,R101,1,xq", header="stratum,number,position,arm"),
            (
                "import.column_order",
                "file",
                "line 1: the columns must stand in the order stratum, position, number, arm",
            ),
        ),
        (with_line(3, "low,2,R107"), ("import.cells", "file", "line 3: 4 cells belong on a line, not 3")),
        (with_line(3, "low,2,R107,zv,"), ("import.cells", "file", "line 3: 4 cells belong on a line, not 5")),
        (with_line(3, "low;2;R107;zv"), ("import.cells", "file", "line 3: 4 cells belong on a line, not 1")),
        (with_line(3, ""), ("import.blank_line", "file", "line 3: the line is empty")),
        (GOOD + "\n", ("import.blank_line", "file", "line 7: the line is empty")),
        (
            with_line(3, 'low,2,R107,"z\nv"'),
            ("import.quoted_newline", "file", "line 3: a quoted cell does not end on its line"),
        ),
        (
            with_line(3, 'low,2,R107,"z\r\nv"'),
            ("import.quoted_newline", "file", "line 3: a quoted cell does not end on its line"),
        ),
        (with_line(6, 'high,3,R102,"xq'), ("import.csv", "file", "line 6: this is not a line of CSV")),
        (with_line(3, 'low,2,R107,"zv"x'), ("import.csv", "file", "line 3: this is not a line of CSV")),
        (
            with_line(3, "low,2,R107,z\x1fv"),
            ("import.characters", "file", "line 3: only printable ASCII characters are allowed"),
        ),
        (
            with_line(3, "low,2,R107,zv\x00"),
            ("import.characters", "file", "line 3: only printable ASCII characters are allowed"),
        ),
        (
            with_line(3, "low,2,R107,z\rv"),
            ("import.characters", "file", "line 3: only printable ASCII characters are allowed"),
        ),
        (
            with_line(3, "low,2,R107,z\u00ad"),
            ("import.characters", "file", "line 3: only printable ASCII characters are allowed"),
        ),
        (
            with_line(3, "low,2,R\u0661\u0660\u0667,zv"),
            ("import.characters", "file", "line 3: only printable ASCII characters are allowed"),
        ),
        (
            with_line(3, "\ufefflow,2,R107,zv"),
            ("import.characters", "file", "line 3: only printable ASCII characters are allowed"),
        ),
        (
            GOOD.replace("\n", "\r"),
            ("import.characters", "file", "line 1: only printable ASCII characters are allowed"),
        ),
    ],
)
def test_a_file_of_another_form_is_refused_by_line_and_rule(text, expected):
    assert found(refused(text)) == [expected]


# --- single cells ---


@pytest.mark.parametrize(
    ("content", "rule", "problem"),
    [
        (",2,R107,zv", "stratum.empty", "stratum is empty"),
        ("middle,2,R107,zv", "stratum.unknown", "stratum is none of the definition's"),
        ("Low,2,R107,zv", "stratum.unknown", "stratum is none of the definition's"),
        ("low ,2,R107,zv", "stratum.spaces", "stratum begins or ends with a space"),
        ("low,,R107,zv", "position.empty", "position is empty"),
        ("low,0,R107,zv", "position.whole", "position must be a whole number from 1"),
        ("low,2.0,R107,zv", "position.whole", "position must be a whole number from 1"),
        ("low,02,R107,zv", "position.whole", "position must be a whole number from 1"),
        ("low,1e1,R107,zv", "position.whole", "position must be a whole number from 1"),
        ("low,-2,R107,zv", "position.formula", "position begins with = + - or @, as a formula of a spreadsheet does"),
        ("low,2,,zv", "number.empty", "number is empty"),
        ("low,2,107,zv", "number.prefix", "number must begin with the prefix of the list"),
        ("low,2,K107,zv", "number.prefix", "number must begin with the prefix of the list"),
        ("low,2,r107,zv", "number.prefix", "number must begin with the prefix of the list"),
        ("low,2,R,zv", "number.digits", "number must be the prefix and 1 to 11 digits"),
        ("low,2,R10 7,zv", "number.digits", "number must be the prefix and 1 to 11 digits"),
        ("low,2,R123456789012,zv", "number.digits", "number must be the prefix and 1 to 11 digits"),
        ("low,2,R107,", "arm.empty", "arm is empty"),
        ("low,2,R107,wk", "arm.unknown", "arm is none of the definition's"),
        ("low,2,R107,ZV", "arm.unknown", "arm is none of the definition's"),
        ("low,2,R107, zv", "arm.spaces", "arm begins or ends with a space"),
        ("low,2,R107,=zv", "arm.formula", "arm begins with = + - or @, as a formula of a spreadsheet does"),
        ("low,2,R107,+zv", "arm.formula", "arm begins with = + - or @, as a formula of a spreadsheet does"),
        ("low,2,R107,-zv", "arm.formula", "arm begins with = + - or @, as a formula of a spreadsheet does"),
        ("low,2,@R107,zv", "number.formula", "number begins with = + - or @, as a formula of a spreadsheet does"),
        ("=low,2,R107,zv", "stratum.formula", "stratum begins with = + - or @, as a formula of a spreadsheet does"),
    ],
)
def test_a_bad_cell_is_refused_by_line_column_and_rule(content, rule, problem):
    column = rule.partition(".")[0]

    assert found(refused(with_line(3, content))) == [(f"import.{rule}", column, f"line 3: {problem}")]


def test_wrong_check_digits_are_refused_when_the_numbers_have_them():
    text = csv_of("low,1,R514295,xq", "low,2,R514395,zv", "low,3,R541295,zv", "low,4,R123,zv")

    refusal = refused(text, strata=("low",), has_check_digits=True)

    assert found(refusal) == [
        ("import.number.check_digits", "number", f"line {line}: number has wrong check digits") for line in (3, 4, 5)
    ]
    assert len(read(text, strata=("low",), has_check_digits=False).numbers) == 4


# --- between rows ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            with_line(5, "high,2,R101,xq"),
            [("import.number.duplicate", "number", "line 5: number is that of line 2")],
        ),
        (
            GOOD + "low,2,R999,xq\n",
            [("import.position.duplicate", "position", "line 7: stratum and position are those of line 3")],
        ),
        (
            with_line(5, "high,4,R110,xq"),
            [("import.position.gap", "position", "stratum high: position 2 is missing")],
        ),
        (
            csv_of("low,2,R101,xq", "high,1,R102,zv"),
            [("import.position.gap", "position", "stratum low: position 1 is missing")],
        ),
        (
            csv_of("low,1,R101,xq"),
            [("import.stratum.missing", "stratum", "stratum high of the definition has no row")],
        ),
    ],
)
def test_numbers_and_positions_must_fit_together(text, expected):
    assert found(refused(text)) == expected


def test_every_mistake_of_a_file_is_told_at_once_up_to_a_hundred():
    few = csv_of("low,1,101,xq", "middle,1,R102,wk")
    many = csv_of(*(f"low,{position},R{position},wk" for position in range(1, 500)))

    assert refused(few).rules == ("import.number.prefix", "import.stratum.unknown", "import.arm.unknown")
    assert len(refused(many).failed) == MOST_MISTAKES_TOLD == 100


def test_a_gap_up_to_a_huge_position_is_told_at_once():
    refusal = refused(csv_of("low,1,R101,xq", "low,99999999,R102,zv", "high,1,R103,zv"))
    assert len(refusal.failed) == MOST_MISTAKES_TOLD


# --- nothing leaks ---


@pytest.mark.requirement("LIST-03")
@pytest.mark.parametrize(
    "line",
    [
        "low,2,R107,CANARY",
        "low,2,R107,=CANARY",
        "low,2,R107,CANARY,",
        'low,2,R107,"CANARY"x',
        'low,2,R107,"CANARY',
        "low,2,R107,CANARY\x00",
        "CANARY,2,R107,zv",
        "low,2,CANARY,zv",
        "low,CANARY,R107,zv",
    ],
)
def test_a_refusal_repeats_no_cell(line):
    refusal = refused(with_line(3, line))

    told = str(refusal) + repr(refusal.failed)
    assert "CANARY" not in told
    assert "xq" not in told
    assert "zv" not in told
    assert refusal.__cause__ is None
    assert refusal.__suppress_context__ or refusal.__context__ is None


def test_neither_inputs_nor_list_print_themselves():
    assert f"{INPUTS} {read(GOOD)}" == "<sealed> <sealed>"


# --- inputs ---


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"seed": bytes(31)}, [("list.seed.length", "seed")]),
        ({"list_id": ""}, [("list.list_id.code", "list_id")]),
        ({"prefix": "r"}, [("list.prefix.letters", "prefix")]),
        ({"strata": ()}, [("list.strata.count", "strata")]),
        ({"strata": ("low", "low")}, [("list.strata.distinct", "strata")]),
        ({"arms": ("xq",)}, [("list.arms.count", "arms")]),
        ({"arms": ("xq", "xq")}, [("list.arms.distinct", "arms")]),
        ({"arms": ("xq", "z\n")}, [("list.arms.code", "arms")]),
    ],
)
def test_bad_inputs_are_refused_naming_field_and_rule(changed, expected):
    with pytest.raises(Refusal) as refusal:
        replace(INPUTS, **changed)

    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected
