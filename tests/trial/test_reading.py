import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.refusal import Refusal
from rts.trial.procedures import written_form
from rts.trial.reading import Mistake, check_definition, read_definition, read_restricted
from tests.trial.texts import PUBLIC, RESTRICTED, edited, line_of


def told(mistakes: tuple[Mistake, ...]) -> list[tuple[int, str, str, str]]:
    return [(mistake.line, mistake.path, mistake.rule, mistake.severity) for mistake in mistakes]


BLOCKS = "\nblock_sizes = [4, 6]"
SITE_1 = 'code = "CN01", '

# What is edited, how, and the one mistake it must give: rule, key path, and the text on its line.
PUBLIC_ERRORS = [
    # keys and types
    ("short_title.en", 'short_titel = "x"\nshort_title.en', "key.unknown", "trial.short_titel", "short_titel"),
    ("[lists]", "[lists]\nfoo = 1", "key.unknown", "lists.foo", "foo = 1"),
    (
        'short_title.en = "Sirolimus in active systemic lupus erythematosus"\n'
        'short_title.zh_Hans = "西罗莫司治疗活动性系统性红斑狼疮"\n',
        "",
        "key.missing",
        "trial.short_title",
        "[trial]",
    ),
    ("target = 146", 'target = "146"', "type.wrong", "trial.target", 'target = "146"'),
    ("target = 146", "target = true", "type.wrong", "trial.target", "target = true"),
    ("target = 146", "target = 0", "number.bounds", "trial.target", "target = 0"),
    ("new_subjects = false", "new_subjects = 0", "type.wrong", "supply.new_subjects", "new_subjects = 0"),
    ("night_run = 21:00:00", 'night_run = "21:00"', "type.wrong", "supply.night_run", "night_run"),
    ("epsilon = 0.01", "epsilon = nan", "type.wrong", "supply.epsilon", "epsilon = nan"),
    ("epsilon = 0.01", "epsilon = 0", "number.bounds", "supply.epsilon", "epsilon = 0"),
    ("epsilon = 0.01", "epsilon = 1.0", "number.bounds", "supply.epsilon", "epsilon = 1.0"),
    ('policy = "predictive"', 'policy = "guess"', "choice.unknown", "supply.policy", 'policy = "guess"'),
    ('  { en = "participant",       zh_Hans = "受试者" }', '  ""', "type.wrong", "trial.masking[1]", '  ""'),
    ('\ndesign.en = "', '\ndesign.en = " " # ', "type.wrong", "registry.design.en", 'design.en = " "'),
    ('\nphase = "2"', '\nphase = " "', "type.wrong", "registry.phase", 'phase = " "'),
    ('\nphase = "2"', "\nphase = {}", "type.wrong", "registry.phase", "phase = {}"),
    ('\nphase = "2"', "\nphase = 2", "type.wrong", "registry.phase", "phase = 2"),
    ('countries = ["CN"]', 'countries = ["China"]', "country.form", "registry.countries[1]", '"China"'),
    ('["en", "zh_Hans"]', '["en", "tlh"]', "language.unknown", "trial.languages[2]", "tlh"),
    ('["en", "zh_Hans"]', "[]", "list.empty", "trial.languages", "languages = []"),
    # codes
    ('code = "SIRIUS"', 'code = "../SIRIUS"', "code.form", "trial.code", "../SIRIUS"),
    ('code = "W4"', 'code = "W\u00e9"', "code.form", "visits[W\u00e9].code", 'code = "W\u00e9"'),
    ('code = "W4"', f'code = "{"W" * 41}"', "code.form", f"visits[{'W' * 41}].code", "WWW"),
    ('code = "W4"', 'code = "W0"', "code.duplicate", "visits[W0].code", 'code = "W0"\nlabel = { en = "Week 4"'),
    ('code = "E02"', 'code = "I02"', "code.duplicate", "exclusion[I02].code", 'code = "I02"\ntext.en = "Neuro'),
    ('code = "CN02"', 'code = "CN01"', "code.duplicate", "sites.list[CN01].code", '"Beijing site 2"'),
    (
        'code = "STEROID"',
        'code = "SLEDAI"',
        "code.duplicate",
        "factors[SLEDAI].code",
        'code = "SLEDAI"\nlabel = { en = "Cort',
    ),
    ('name = "matching placebo"', 'name = "sirolimus"', "code.duplicate", "treatments[sirolimus].name", None),
    # dates and calendars
    ("registered_on = 2020-10-03", "registered_on = 2020-02-30", "date.impossible", "", "2020-02-30"),
    ("registered_on = 2020-10-03", 'registered_on = "2020"', "type.wrong", "registry.registered_on", '"2020"'),
    (
        "registered_on = 2020-10-03",
        "registered_on = 2020-10-03T10:00:00",
        "type.wrong",
        "registry.registered_on",
        "registered_on",
    ),
    ("2026-02-28,", "2027-02-27,", "calendar.after_known", "calendars.china.makeup[3]", "2027-02-27"),
    ("2026-02-28,", "2026-02-27,", "calendar.makeup", "calendars.china.makeup[3]", "2026-02-27"),
    ("2026-02-28,", "2026-02-15,", "calendar.makeup", "calendars.china.makeup[3]", "2026-02-14, 2026-02-15"),
    ("2026-04-05,", "2026-04-04,", "calendar.duplicate", "calendars.china.closed[14]", "2026-04-04, 2026-04-04"),
    ("[1, 2, 3, 4, 5]", "[0, 2]", "number.bounds", "calendars.china.working_weekdays[1]", "[0, 2]"),
    # strata
    ("decimals = 0", "decimals = 7", "number.bounds", "factors[SLEDAI].decimals", "decimals = 7"),
    ("maximum = 105", "maximum = 4", "number.order", "factors[SLEDAI].maximum", "maximum = 4"),
    ('code = "SLEDAI-LOW"', 'code = "S.LOW"', "code.form", "factors[SLEDAI].levels[S.LOW].code", "S.LOW"),
    # checklist
    (
        'rule = "age"\nminimum = 18',
        'rule = "age"',
        "key.missing",
        "inclusion[I01].minimum",
        '[[inclusion]]\ncode = "I01"',
    ),
    ("minimum = 18", "minimum = 18.5", "type.wrong", "inclusion[I01].minimum", "minimum = 18.5"),
    ("maximum = 65", "maximum = 17", "number.order", "inclusion[I01].maximum", "maximum = 17"),
    ('factor = "STEROID"', 'factor = "STEROIDS"', "reference.unknown", "inclusion[I06].factor", "STEROIDS"),
    ('\nrule = "factor"', '\nrule = "confirm"', "criterion.rule", "inclusion[I06].rule", 'rule = "confirm"'),
    ('code = "E04"', 'code = "E04"\nrule = "factor"\nfactor = "SLEDAI"\nminimum = 5', "criterion.kind", None, None),
    # visits
    ("day = 28", "day = 0", "visit.order", "visits[W4].day", "day = 0\nwindow_before = 3"),
    ("day = 28", "day = 50", "visit.overlap", "visits[W8].window_before", None),
    ("{ standard = { study-drug = 1 } }", "{ high = { study-drug = 1 } }", "reference.unknown", None, "high = {"),
    (
        "kits = { standard = { study-drug = 1 }",
        "kits = { standard = { other = 1 }",
        "reference.unknown",
        "visits[W0].kits.standard.other",
        None,
    ),
    ("{ study-drug = 28 }", "{ study-drug = 0 }", "number.bounds", "dosing.units_a_kit.study-drug", None),
    ("{ study-drug = 28 }", "{ study-drug = 28, other = 5 }", "reference.unknown", "dosing.units_a_kit.other", None),
    (
        "units_a_kit = { study-drug = 28 }",
        "units_a_kit = {}",
        "units.kit_unknown",
        "dosing.units_a_day.standard.study-drug",
        None,
    ),
    ("units_a_day = { standard =", "units_a_day = { high =", "reference.unknown", "dosing.units_a_day.high", None),
    ("end_of_treatment_day = 168", "end_of_treatment_day = 140", "visit.order", "dosing.end_of_treatment_day", None),
    # expiry
    ("\ndnc = 38", "\ndnc = 30", "expiry.order", "expiry.dnc", "dnc = 30"),
    ("\ndns = 60", "\ndns = 37", "expiry.order", "expiry.dns", "dns = 37"),
    ("minimum = 2.0", "minimum = 2.05", "storage.decimals", "storage.minimum", "minimum = 2.05"),
    ("maximum = 30.0", "maximum = 2.0", "storage.order", "storage.maximum", "maximum = 2.0"),
    ("maximum = 30.0\n", "", "key.missing", "storage.maximum", "[storage]"),
    (
        "allowed_minutes_out_of_range = 60",
        "allowed_minutes_out_of_range = -1",
        "number.bounds",
        "storage.allowed_minutes_out_of_range",
        "allowed_minutes_out_of_range = -1",
    ),
    ("\ndns = 60", "\ndns = 60\ndnd_by_visit = { W5 = 31 }", "reference.unknown", "expiry.dnd_by_visit.W5", "W5"),
    # depots and sites
    (
        'time_zone = "Asia/Shanghai"',
        'time_zone = "Asia/Shangai"',
        "time_zone.unknown",
        "depots[DEP-SH].time_zone",
        None,
    ),
    ('calendar = "china"', 'calendar = "chine"', "reference.unknown", "depots[DEP-SH].calendar", "chine"),
    (SITE_1, SITE_1 + 'depot = "DEP-XX", ', "reference.unknown", "sites.list[CN01].depot", "DEP-XX"),
    (SITE_1, SITE_1 + 'country = "China", ', "country.form", "sites.list[CN01].country", '"China"'),
    ('supply_class = "low", ', 'supply_class = "tiny",', "reference.unknown", "sites.list[CN01].supply_class", "tiny"),
    ('supply_class = "low",    ', "", "key.missing", "sites.list[CN01].supply_class", "CN01"),
    ("planned_rate = 0.001302", "planned_rate = -0.1", "number.bounds", "sites.list[CN01].planned_rate", "-0.1"),
    ("cut_off = 14:00:00", 'cut_off = 14:00:00\nparent = "X"', "reference.unknown", "depots[DEP-SH].parent", None),
    ("cut_off = 14:00:00", 'cut_off = 14:00:00\nparent = "DEP-SH"', "depot.circle", "depots[DEP-SH].parent", None),
    # supply and caps
    ("long_window = 42", "long_window = 13", "number.order", "supply.long_window", "long_window = 13"),
    ("maximum_consignment = 60", "maximum_consignment = 1", "number.order", "supply.maximum_consignment", None),
    ("minimum = 1, maximum = 2", "minimum = 3, maximum = 2", "number.order", "supply.classes[low].maximum", None),
    ("buffer_maximum = 2", "buffer_maximum = 0", "number.order", "supply.classes[low].buffer_maximum", None),
    ("trial = 146", "trial = 145", "caps.below_target", "caps.trial", "trial = 145"),
    ("trial = 146", "trial = 146\nsite = 7", "caps.below_target", "caps.site", "site = 7"),
    ("trial = 146", "trial = 146\nstratum = 36", "caps.below_target", "caps.stratum", "stratum = 36"),
    ("trial = 146", "trial = 146\nby_site = { CN21 = 5 }", "reference.unknown", "caps.by_site.CN21", "CN21"),
    (
        "trial = 146",
        "trial = 146\nby_stratum = { LOW = 5 }",
        "reference.unknown",
        "caps.by_stratum.LOW",
        "by_stratum = {",
    ),
    # assumptions
    ('keys = ["factors"]', 'keys = ["factor"]', "assumption.unknown_key", "assumptions[3].keys[1]", '["factor"]'),
]


@pytest.mark.parametrize(
    ("old", "new", "rule", "path", "on_line"), PUBLIC_ERRORS, ids=[f"{row[2]}:{row[3]}" for row in PUBLIC_ERRORS]
)
def test_a_mistake_in_the_public_part_is_named_once_with_its_line(
    old: str, new: str, rule: str, path: str | None, on_line: str | None
) -> None:
    text = edited(PUBLIC, old, new)

    mistakes = check_definition(text)

    assert [(mistake.rule, mistake.severity) for mistake in mistakes] == [(rule, "error")]
    if path is not None:
        assert mistakes[0].path == path
    if on_line is not None:
        assert mistakes[0].line == line_of(text, on_line)
    with pytest.raises(Refusal) as refusal:
        read_definition(text)
    assert refusal.value.code == "invalid"
    assert refusal.value.rules == (f"definition.{rule}",)
    assert str(refusal.value).startswith(f"line {mistakes[0].line}, ")


PUBLIC_WARNINGS = [
    ("\ndnd = 31", "\ndnd = 30", "expiry.dnd_short", "expiry.dnd", 5),
    ("\ndns = 60", "\ndns = 60\ndnd_by_visit = { W4 = 30 }", "expiry.dnd_short", "expiry.dnd_by_visit.W4", 1),
    ("\ndnc = 38", "\ndnc = 36", "expiry.dnc_short", "expiry.dnc", 1),
    ("\ndns = 60", "\ndns = 42", "expiry.dns_short", "expiry.dns", 1),
    ("registered_on = 2020-10-03", "registered_on = 2021-03-05", "date.order", "registry.first_enrolment_on", 1),
]


@pytest.mark.parametrize(("old", "new", "rule", "path", "times"), PUBLIC_WARNINGS)
def test_a_doubtful_value_is_warned_of_and_not_refused(old: str, new: str, rule: str, path: str, times: int) -> None:
    text = edited(PUBLIC, old, new)

    mistakes = check_definition(text)

    assert [(m.rule, m.path, m.severity) for m in mistakes] == [(rule, path, "warning")] * times
    assert read_definition(text).code == "SIRIUS"


@pytest.mark.parametrize(
    ("old", "new"), [("\ndnc = 38", "\ndnc = 37"), ("\ndns = 60", "\ndns = 43"), ("\ndnc = 38", "\ndnc = 55")]
)
def test_expiry_clocks_just_long_enough_are_not_warned_of(old: str, new: str) -> None:
    # DND 31, longest lead 4 + 1, review 1: DNC from 37. DNC 38, lead 5: DNS from 43, and DNC to 55 with DNS 60.
    assert check_definition(edited(PUBLIC, old, new)) == ()


LEVELS = """  { code = "SLEDAI-LOW",  label = { en = "below 10",   zh_Hans = "小于 10" },     below = 10 },
  { code = "SLEDAI-HIGH", label = { en = "10 or more", zh_Hans = "大于等于 10" }, at_least = 10 },"""


@pytest.mark.parametrize(
    ("low", "high", "rules"),
    [
        ("below = 10", "at_least = 10", []),
        ("below = 10", "at_least = 11", [("strata.gap", "no level holds 10")]),
        (
            "below = 11",
            "at_least = 10",
            [("strata.overlap", "10 falls into SLEDAI-LOW, SLEDAI-HIGH")],
        ),
        ("at_least = 5, below = 10", "at_least = 10", [("strata.gap", "no level holds 4")]),
        ("below = 10", "at_least = 10, below = 105", [("strata.gap", "no level holds 105")]),
        ("below = 10", "at_least = 10, below = 106", []),
        ("below = 10.5", "at_least = 10.5", [("strata.decimals", "has more decimals than the factor's 0")] * 2),
    ],
)
def test_levels_hold_every_value_exactly_once(low: str, high: str, rules: list[tuple[str, str]]) -> None:
    levels = LEVELS.replace("below = 10 }", low + " }").replace("at_least = 10 }", high + " }")

    mistakes = check_definition(edited(PUBLIC, LEVELS, levels))

    found = [(m.rule, str(m.message)) for m in mistakes]
    assert found[: len(rules)] == rules
    assert bool(found) == bool(rules)


@pytest.mark.parametrize("level", ["at_least = 200", "below = 4", "at_least = 9, below = 9"])
def test_a_level_that_no_value_can_reach_is_refused(level: str) -> None:
    third = LEVELS + f'\n  {{ code = "NEVER", label = {{ en = "never", zh_Hans = "从不" }}, {level} }},'

    mistakes = check_definition(edited(PUBLIC, LEVELS, third))

    assert [(m.rule, m.path) for m in mistakes] == [("strata.empty_level", "factors[SLEDAI].levels[NEVER]")]


tenths = st.integers(0, 200).map(lambda tenth: Decimal(tenth) / 10)
bounds = st.none() | tenths


@pytest.mark.requirement("RAND-09")
@given(st.lists(st.tuples(bounds, bounds), min_size=1, max_size=4))
def test_levels_are_accepted_exactly_when_a_count_over_every_value_says_so(
    levels: list[tuple[Decimal | None, Decimal | None]],
) -> None:
    rows = [
        f'{{ code = "L{index}", label = "x"'
        + (f", at_least = {low}" if low is not None else "")
        + (f", below = {high}" if high is not None else "")
        + " }"
        for index, (low, high) in enumerate(levels)
    ]
    old = re.search(r'levels = \[\n  \{ code = "STEROID.*?\n\]', PUBLIC, re.DOTALL)
    assert old

    mistakes = check_definition(PUBLIC.replace(old[0], "levels = [" + ", ".join(rows) + "]"))

    every_value = [Decimal(tenth) / 10 for tenth in range(201)]
    held = [
        {
            index
            for index, (low, high) in enumerate(levels)
            if (low is None or value >= low) and (high is None or value < high)
        }
        for value in every_value
    ]
    is_right = all(len(holders) == 1 for holders in held) and set().union(*held) == set(range(len(levels)))
    assert (mistakes == ()) == is_right


def test_all_mistakes_are_named_at_once_in_the_order_of_lines() -> None:
    text = edited(PUBLIC, "target = 146", "target = -1")
    text = edited(text, "2020-10-03", "2020-13-03")
    text = edited(text, "2021-03-04", "2021-02-29")
    text = edited(text, "day = 56", "days = 56")
    text = edited(text, '"china"', '"peru"')

    mistakes = check_definition(text)

    assert told(mistakes) == [
        (line_of(text, "target = -1"), "trial.target", "number.bounds", "error"),
        (line_of(text, "2020-13-03"), "", "date.impossible", "error"),
        (line_of(text, "2021-02-29"), "", "date.impossible", "error"),
        (line_of(text, '[[visits]]\ncode = "W8"'), "visits[W8].day", "key.missing", "error"),
        (line_of(text, "days = 56"), "visits[W8].days", "key.unknown", "error"),
        (line_of(text, '"peru"'), "depots[DEP-SH].calendar", "reference.unknown", "error"),
    ]
    with pytest.raises(Refusal) as refusal:
        read_definition(text)
    assert len(refusal.value.failed) == 6


def test_an_unknown_key_comes_with_the_nearest_known_one() -> None:
    (missing, unknown) = check_definition(edited(PUBLIC, "window_after = 0", "window_aftr = 0"))

    assert str(missing.message) == "window_after is missing"
    assert str(unknown.message) == "window_aftr is not a known key here; did you mean window_after?"


def test_text_that_is_not_toml_gives_one_mistake_with_its_line() -> None:
    text = edited(PUBLIC, "target = 146", "target = = 146")

    (mistake,) = check_definition(text)

    assert (mistake.rule, mistake.line) == ("toml.syntax", line_of(text, "target = ="))


@pytest.mark.parametrize("text", ["", "a = 1", "trial = 3", "[trial]", "sites = []", "visits = [1]", "[[factors]]"])
def test_any_toml_gives_mistakes_and_no_crash(text: str) -> None:
    mistakes = check_definition(text, text)

    assert {mistake.part for mistake in mistakes} == {"public", "restricted"}


@given(st.text(alphabet='abc=[]{}".,\n 01-:#', max_size=60))
def test_no_text_makes_the_check_crash(text: str) -> None:
    assert check_definition(text)


def test_windows_line_endings_and_a_byte_order_mark_change_nothing() -> None:
    assert read_definition("\ufeff" + PUBLIC.replace("\n", "\r\n")) == read_definition(PUBLIC)


SIRIUS_BLOCKS = '"permuted-blocks"' + BLOCKS
MINIMISED = '"minimisation"\nmetric = "range"\nprobability = "4/5"\nweights = { SLEDAI = 2, site = 1 }'
RESTRICTED_ERRORS = [
    ('trial = "SIRIUS"', 'trial = "OTHER"', "trial.other", "trial"),
    ('"permuted-blocks"', '"wishful"', "choice.unknown", "randomisation.procedure"),
    (SIRIUS_BLOCKS, MINIMISED.replace("SLEDAI", "AGE"), "reference.unknown", "randomisation.weights.AGE"),
    (SIRIUS_BLOCKS, MINIMISED.replace("= 2", "= 0"), "number.bounds", "randomisation.weights.SLEDAI"),
    (SIRIUS_BLOCKS, MINIMISED.replace("range", "spread"), "choice.unknown", "randomisation.metric"),
    (SIRIUS_BLOCKS, MINIMISED.replace("4/5", "1"), "procedure.probability.range", "randomisation.probability"),
    (SIRIUS_BLOCKS, MINIMISED.replace("4/5", "1/2"), "procedure.probability.no_preference", "randomisation.procedure"),
    (SIRIUS_BLOCKS, MINIMISED.split("weights")[0], "procedure.weights.factors", "randomisation.weights"),
    ('"permuted-blocks"' + BLOCKS, '"big-stick"', "key.missing", "randomisation.imbalance"),
    ('"permuted-blocks"', '"complete"', "key.unknown", "randomisation"),
    ('"permuted-blocks"' + BLOCKS, '"urn"\nalpha = 0\nbeta = 0', "procedure.alpha.empty_urn", "randomisation.alpha"),
    (
        '"permuted-blocks"' + BLOCKS,
        '"biased-coin"\nprobability = "1"',
        "procedure.probability.range",
        "randomisation.probability",
    ),
    (
        '"permuted-blocks"' + BLOCKS,
        '"biased-coin"\nprobability = "often"',
        "procedure.shape",
        "randomisation.probability",
    ),
    (BLOCKS, "\nblock_sizes = [4, 5]", "blocks.ratio", "randomisation.block_sizes[2]"),
    (BLOCKS, "\nblock_sizes = [4, 4]", "code.duplicate", "randomisation.block_sizes[2]"),
    (BLOCKS, "\nblock_sizes = []", "list.empty", "randomisation.block_sizes"),
    (BLOCKS, "\nblock_sizes = [0, 4]", "number.bounds", "randomisation.block_sizes[1]"),
    ('treatment = "sirolimus"', 'treatment = "matching placebo"', "code.duplicate", "arms[2].treatment"),
    ('treatment = "sirolimus"', 'treatment = "rapamycin"', "reference.unknown", "arms[2].treatment"),
    ('[[arms]]\ncode = "ORVEN"\ntreatment = "sirolimus"\n', "", "arms.missing", "arms"),
    ('code = "GAFIB"', 'code = "SIRO"', "code.tells", "kit_types[1].code"),
    ('arm = "ORVEN"', 'arm = "ORVAN"', "reference.unknown", "kit_types[1].arm"),
    ('arm = "ORVEN"', 'arm = "KILDU"', "kit_types.twice", "kit_types[2]"),
    ('group = "study-drug"', 'group = "drug"', "reference.unknown", "kit_types[1].group"),
    ('id = "SIRIUS-K2"', 'id = "SIRIUS-R1"', "code.duplicate", "kit_lists[2].id"),
    ('id = "SIRIUS-K2"', 'id = "../K2"', "code.form", "kit_lists[2].id"),
    ('prefix = "L"', 'prefix = "R"', "prefix.duplicate", "kit_lists[2].prefix"),
    ('prefix = "L"', 'prefix = "l"', "prefix.form", "kit_lists[2].prefix"),
    ('prefix = "L"', 'prefix = "ABCD"', "prefix.form", "kit_lists[2].prefix"),
    ('blinded_lot = "BL-2602"', 'blinded_lot = "BL-2601"', "code.duplicate", "kit_lists[2].blinded_lot"),
    ("length = 148", "length = 36", "list.short", "subject_lists[1].length"),
    ("expiry = 2027-01-05", "expiry = 2025-12-22", "date.order", "kit_lists[1].expiry"),
    ("quantity = 300", "quantity = 0", "number.bounds", "kit_lists[1].contents[1].quantity"),
    ('"M25-0422"', '"M25-0417"', "lot.two_types", "kit_lists[1].contents[2].manufacturing_lot"),
    ('kit_type = "WUBEK"', 'kit_type = "WUBEC"', "reference.unknown", "kit_lists[1].contents[2].kit_type"),
    (
        '  { kit_type = "WUBEK", quantity = 300, manufacturing_lot = "M25-0422" },\n',
        "",
        "kit_list.types",
        "kit_lists[1].contents",
    ),
    ('arm = "KILDU"', 'arm = "KILDU"\nWUBEK = 1', "key.unknown", "kit_types[2]"),
]


def test_a_tape_is_as_long_as_the_trial() -> None:
    minimised = edited(RESTRICTED, SIRIUS_BLOCKS, MINIMISED)
    lengths = {length: check_definition(PUBLIC, minimised.replace("= 148", f"= {length}")) for length in (145, 146)}

    assert [(m.rule, m.path) for m in lengths[145]] == [("list.short", "subject_lists[1].length")]
    assert lengths[146] == ()
    read = read_restricted(minimised, read_definition(PUBLIC)).procedure
    assert written_form(read) == {
        "name": "minimisation", "metric": "range", "weights": {"SLEDAI": 2, "site": 1}, "probability": "4/5",
    }  # fmt: skip


def test_a_factor_coded_site_leaves_open_what_is_weighed() -> None:
    public = re.sub(r"\bSTEROID\b", "site", PUBLIC)

    mistakes = check_definition(public, edited(RESTRICTED, SIRIUS_BLOCKS, MINIMISED))

    assert ("procedure.weights.site", "randomisation.weights.site") in [(m.rule, m.path) for m in mistakes]


def test_a_length_that_the_procedure_cannot_make_is_named_at_its_list() -> None:
    text = edited(RESTRICTED, '"permuted-blocks"' + BLOCKS, '"maximal"\nimbalance = 3').replace("= 148", "= 149")

    mistakes = check_definition(PUBLIC, text)

    assert [(mistake.rule, mistake.path) for mistake in mistakes] == [("list.length.even", "subject_lists[1].length")]


@pytest.mark.parametrize(
    ("old", "new", "rule", "path"), RESTRICTED_ERRORS, ids=[f"{row[2]}:{row[3]}" for row in RESTRICTED_ERRORS]
)
def test_a_mistake_in_the_restricted_part_is_named_and_quotes_nothing(old: str, new: str, rule: str, path: str) -> None:
    text = edited(RESTRICTED, old, new)

    mistakes = check_definition(PUBLIC, text)

    assert (rule, path) in [(mistake.rule, mistake.path) for mistake in mistakes]
    assert {mistake.part for mistake in mistakes} == {"restricted"}
    with pytest.raises(Refusal) as refusal:
        read_restricted(text, read_definition(PUBLIC))
    assert f"definition.{rule}" in refusal.value.rules
    said = str(refusal.value) + repr(refusal.value)
    assert not re.search("ORVEN|ORVAN|KILDU|GAFIB|WUBE|SIRO|M25|BL-26|300|270|OTHER|rapamycin", said)


def test_a_mistake_in_the_restricted_part_has_its_line() -> None:
    text = edited(RESTRICTED, "expiry = 2027-10-07", "expiry = 2027-02-29")

    (mistake,) = check_definition(PUBLIC, text)

    assert (mistake.rule, mistake.line) == ("date.impossible", line_of(text, "2027-02-29"))


def test_restricted_text_that_is_not_toml_is_refused_without_quoting_it() -> None:
    text = edited(RESTRICTED, 'code = "ORVEN"', 'code = "ORVEN"\ncode = "ORVEN"')

    with pytest.raises(Refusal) as refusal:
        read_restricted(text, read_definition(PUBLIC))

    line = line_of(text, '"ORVEN"\ntreatment')
    assert str(refusal.value) == f"line {line}, restricted: not valid TOML"
    assert refusal.value.__context__ is None


RESTRICTED_WARNINGS = [
    (BLOCKS, "\nblock_sizes = [2, 4]", "blocks.short", "randomisation.block_sizes[1]"),
    (BLOCKS, "\nblock_sizes = [4]", "blocks.one_size", "randomisation.block_sizes"),
    ("released_from = 2026-06-04", "released_from = 2027-08-09", "expiry.never_shipped", "kit_lists[2].expiry"),
]


@pytest.mark.parametrize(("old", "new", "rule", "path"), RESTRICTED_WARNINGS)
def test_a_doubtful_restricted_value_is_warned_of_and_not_refused(old: str, new: str, rule: str, path: str) -> None:
    text = edited(RESTRICTED, old, new)

    mistakes = check_definition(PUBLIC, text)

    assert [(m.rule, m.path, m.severity) for m in mistakes] == [(rule, path, "warning")]
    assert read_restricted(text, read_definition(PUBLIC)).trial == "SIRIUS"


def test_a_lot_that_can_be_shipped_on_its_last_day_is_not_warned_of() -> None:
    # 2027-10-07 less DNS 60 days is 2027-08-08.
    assert check_definition(PUBLIC, edited(RESTRICTED, "2026-06-04", "2027-08-08")) == ()


def test_with_a_wrong_public_part_the_restricted_part_is_still_checked_on_its_own() -> None:
    public = edited(PUBLIC, "target = 146", "target = 0")
    restricted = edited(RESTRICTED, 'prefix = "L"', 'prefix = "K"')

    mistakes = check_definition(public, restricted)

    assert [(m.part, m.rule) for m in mistakes] == [("public", "number.bounds"), ("restricted", "prefix.duplicate")]


@pytest.mark.parametrize("slip", ["a = 1\n2026-01-05, 2026-01-06", "a = 2026-01-05 x", "a = [2026-01-05 2026-01-06]"])
def test_a_real_date_beside_a_slip_of_syntax_is_not_called_impossible(slip: str) -> None:
    assert [mistake.rule for mistake in check_definition(slip)] == ["toml.syntax"]


ODD_VALUES = ['""', '"x"', "0", "-1", "1e300", "inf", "true", "[]", "{}", "[{}]", "[[]]", "1979-05-27", "07:32:00"]


@given(st.booleans(), st.integers(0, 10_000), st.sampled_from([None, *ODD_VALUES]))
def test_any_value_of_any_type_at_any_key_is_judged_without_a_crash(
    is_public: bool, number: int, odd_value: str | None
) -> None:
    rows = (PUBLIC if is_public else RESTRICTED).split("\n")
    place = number % len(rows)
    key, equals, _ = rows[place].partition(" = ")
    rows[place] = f"{key} = {odd_value}" if odd_value and equals else ""
    text = "\n".join(rows)

    mistakes = check_definition(text, RESTRICTED) if is_public else check_definition(PUBLIC, text)

    assert all(1 <= mistake.line <= len(rows) for mistake in mistakes)


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000])
def test_numbers_too_long_and_brackets_too_deep_are_mistakes(text: str) -> None:
    assert [mistake.rule for mistake in check_definition(text)] == ["toml.syntax"]


def test_a_list_made_elsewhere_is_planned_by_what_its_numbers_end_in() -> None:
    plan = 'length = 148\nimported = "with_check_digits"'
    imported = edited(RESTRICTED, "length = 148", plan)

    assert [m for m in check_definition(PUBLIC, imported) if m.severity == "error"] == []
    assert read_restricted(imported, read_definition(PUBLIC)).subject_lists[0].imported == "with_check_digits"
    assert read_restricted(RESTRICTED, read_definition(PUBLIC)).subject_lists[0].imported == ""
    wrong = check_definition(PUBLIC, edited(imported, "with_check_digits", "yes"))
    assert [(m.rule, m.path) for m in wrong] == [("choice.unknown", "subject_lists[1].imported")]


@pytest.mark.parametrize(
    ("procedure", "length", "rules"),
    [
        # The strata of an imported list have lengths of their own; the ratio must fit all the same.
        ('"maximal"\nimbalance = 3', 149, []),
        ('"random-allocation-rule"', 149, []),
        (MINIMISED, 149, ["list.imported_tape"]),
    ],
)
def test_an_imported_list_is_bound_by_its_procedure_but_not_to_one_length(
    procedure: str, length: int, rules: list[str]
) -> None:
    text = edited(RESTRICTED, SIRIUS_BLOCKS, procedure)
    text = edited(text, "length = 148", f'length = {length}\nimported = "without_check_digits"')

    assert [m.rule for m in check_definition(PUBLIC, text) if m.severity == "error"] == rules
