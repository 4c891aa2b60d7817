"""What a definition says to people: in each of its languages, and to everybody the same in its codes."""

import hashlib
from pathlib import Path

import pytest

from rts.refusal import Refusal, say
from rts.translating import in_language
from rts.trial.reading import check_definition, read_definition, read_restricted
from rts.trial.texts import Text, by_language, plain
from rts.trial.versions import Difference, definition_digest, differences
from tests.trial.texts import PUBLIC, RESTRICTED, edited, line_of

# SIRIUS as it was loaded before texts had languages.
PLAIN = (Path(__file__).parent / "sirius_with_plain_texts.toml").read_text("utf-8")
E02 = 'text.en = "Neuropsychiatric lupus"\ntext.zh_Hans = "神经精神性狼疮"'
ON_ONE_LINE = 'text = { en = "Neuropsychiatric lupus", zh_Hans = "神经精神性狼疮" }'

sirius = read_definition(PUBLIC)


def criterion(text: str, code: str = "E02") -> Text:
    return next(found.text for found in read_definition(text).criteria if found.code == code)


def test_a_text_is_read_in_the_language_of_its_reader_and_in_english_where_that_lacks() -> None:
    text = by_language({"zh_Hans": "第 4 周", "en": "Week 4"})

    assert text.in_language("zh_Hans") == "第 4 周"
    assert text.in_language("en") == str(text) == "Week 4"
    assert by_language({"en": "Week 4"}).in_language("zh_Hans") == "Week 4"
    assert by_language({"zh_Hans": "第 4 周"}).in_language("en") == "第 4 周"


def test_a_plain_text_is_the_same_for_every_reader() -> None:
    assert {plain("SRI-4").in_language(language) for language in ("en", "zh_Hans")} == {"SRI-4"}
    assert not plain("")


def test_a_text_without_a_wording_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one wording"):
        by_language({})


def test_a_sentence_takes_up_a_text_in_its_own_language() -> None:
    sentence = say("Nothing is dispensed at %(visit)s.", visit=by_language({"en": "Week 4", "zh_Hans": "第 4 周"}))

    assert str(sentence) == in_language(sentence, "en") == "Nothing is dispensed at Week 4."
    assert in_language(sentence, "zh_CN") == "“第 4 周”不发放药品。"


@pytest.mark.parametrize("form", [E02, ON_ONE_LINE])
def test_wordings_one_below_the_other_and_on_one_line_mean_the_same(form: str) -> None:
    text = edited(PUBLIC, E02, form)

    assert read_definition(text) == sirius
    assert criterion(text).in_language("zh_Hans") == "神经精神性狼疮"
    assert str(criterion(text)) == "Neuropsychiatric lupus"


@pytest.mark.parametrize(
    ("form", "rule", "path", "on_line", "words"),
    [
        (
            'text.en = "Neuropsychiatric lupus"',
            "text.language_missing",
            "exclusion[E02].text",
            "text.en",
            "lacks zh_Hans, named in trial.languages",
        ),
        (
            'text = { zh_Hans = "神经精神性狼疮" }',
            "text.language_missing",
            "exclusion[E02].text",
            "text = {",
            "lacks en, named in trial.languages",
        ),
        (
            f'{E02}\ntext.zh = "神经精神性狼疮"',
            "language.unknown",
            "exclusion[E02].text.zh",
            "text.zh =",
            "no such language; known are: en, zh_Hans",
        ),
        (
            'text.en = "Neuropsychiatric lupus"\ntext.zh_Hans = " "',
            "type.wrong",
            "exclusion[E02].text.zh_Hans",
            "text.zh_Hans = ",
            "must be a text in quotes, not empty",
        ),
        (
            "text = {}",
            "type.wrong",
            "exclusion[E02].text",
            "text = {}",
            "must be a text in quotes, not empty, or a table of them by language",
        ),
    ],
)
def test_a_text_that_is_not_whole_is_refused_with_its_line(
    form: str, rule: str, path: str, on_line: str, words: str
) -> None:
    text = edited(PUBLIC, E02, form)
    expected = line_of(text, 'code = "E02"') + 1 + form[: form.index(on_line)].count("\n")

    (mistake,) = check_definition(text)

    assert (mistake.rule, mistake.path, mistake.line, mistake.severity) == (rule, path, expected, "error")
    assert str(mistake.message) == words
    with pytest.raises(Refusal) as refusal:
        read_definition(text)
    assert refusal.value.rules == (f"definition.{rule}",)


def test_words_that_are_the_same_in_every_language_are_warned_of_and_accepted() -> None:
    text = edited(PUBLIC, E02, 'text = "Neuropsychiatric lupus"')

    (mistake,) = check_definition(text)

    assert (mistake.rule, mistake.path, mistake.severity) == ("text.one_language", "exclusion[E02].text", "warning")
    assert str(mistake.message) == 'is the same in every language: write it as { en = "…", zh_Hans = "…" }'
    assert criterion(text).in_language("zh_Hans") == "Neuropsychiatric lupus"


def test_a_text_without_words_needs_no_translation() -> None:
    assert check_definition(edited(PUBLIC, 'phase = "2"', 'phase = "2/3"')) == ()


def test_a_trial_of_one_language_needs_no_other_and_may_hold_one_that_is_under_way() -> None:
    one = edited(PUBLIC, 'languages = ["en", "zh_Hans"]', 'languages = ["en"]')

    assert check_definition(one) == ()
    assert check_definition(edited(one, E02, 'text = "Neuropsychiatric lupus"')) == ()
    assert check_definition(edited(one, E02, 'text.en = "Neuropsychiatric lupus"')) == ()
    assert [m.rule for m in check_definition(edited(one, E02, 'text.zh_Hans = "神经精神性狼疮"'))] == [
        "text.language_missing"
    ]


def test_a_code_without_a_name_is_what_people_read_but_for_the_gates_most_trials_have() -> None:
    text = edited(PUBLIC, '"unblinding-access"]', '"unblinding-access", "pharmacy"]')
    text = edited(text, 'study-drug = { en = "study drug", zh_Hans = "试验用药品" }\n', "")
    text = edited(text, 'ethics            = { en = "Ethics approval",            zh_Hans = "伦理委员会批准" }\n', "")

    mistakes = check_definition(text)

    assert [(m.rule, m.path, m.severity) for m in mistakes] == [
        ("text.no_name", "trial.gates[5]", "warning"),
        ("text.no_name", "dosing.kit_groups[1]", "warning"),
    ]
    definition = read_definition(text)
    assert in_language(definition.gate_name("ethics"), "zh_Hans") == "伦理批准"
    assert in_language(definition.gate_name("pharmacy"), "zh_Hans") == "pharmacy"
    assert in_language(definition.gate_name("contract"), "zh_Hans") == "临床试验协议"
    assert str(definition.kit_group_name("study-drug")) == "study-drug"
    assert definition.dose_level_name("standard").in_language("zh_Hans") == "标准剂量"


def test_a_name_for_what_there_is_not_is_refused() -> None:
    text = edited(PUBLIC, "[dosing.level_names]\n", '[dosing.level_names]\nhalf = { en = "half", zh_Hans = "半量" }\n')

    (mistake,) = check_definition(text)

    assert (mistake.rule, mistake.path) == ("reference.unknown", "dosing.level_names.half")
    assert mistake.line == line_of(text, "half = {")


def test_an_arms_code_resembles_no_wording_of_a_treatment() -> None:
    text = edited(PUBLIC, 'en = "sirolimus"', 'en = "kilduvir"')

    (mistake,) = check_definition(text, RESTRICTED)

    assert (mistake.part, mistake.rule, mistake.path) == ("restricted", "code.tells", "arms[1].code")


def test_a_treatment_is_told_by_its_label_and_referred_to_by_its_name() -> None:
    restricted = read_restricted(RESTRICTED, sirius)

    assert restricted.treatment_of("ORVEN") == "sirolimus"
    assert sirius.treatment_label("sirolimus").in_language("zh_Hans") == "西罗莫司"
    assert str(sirius.treatment_label("matching placebo")) == "matching placebo"
    with pytest.raises(KeyError):
        sirius.treatment_label("西罗莫司")


def test_every_text_of_sirius_has_its_own_chinese() -> None:
    texts = [each.text for each in sirius.criteria] + [visit.label for visit in sirius.visits]
    texts += [text for factor in sirius.factors for text in (factor.label, factor.unit)]
    texts += [level.label for factor in sirius.factors for level in factor.levels]
    texts += [text for place in (*sirius.sites, *sirius.depots) for text in (place.name, place.city)]
    texts += [assumption.reason for assumption in sirius.assumptions]

    for text in texts:
        assert text.languages == ("en", "zh_Hans")
        assert any("一" <= sign <= "鿿" for sign in text.in_language("zh_Hans")), str(text)
    assert str(sirius.site("CN13").title) == "CN13 Xi'an site 1"
    assert sirius.site("CN13").title.in_language("zh_Hans") == "CN13 西安中心 1"


def test_a_definition_from_before_texts_had_languages_keeps_digest_and_meaning() -> None:
    before = read_definition(PLAIN)

    assert definition_digest(PLAIN) == "4907c89bc85466c0c392cd4670d4811f519f7ada42881d1e07b0125184a5bf1f"
    assert hashlib.sha256(PLAIN.encode()).hexdigest() == definition_digest(PLAIN)
    assert {(m.rule, m.severity) for m in check_definition(PLAIN, RESTRICTED)} == {
        ("text.one_language", "warning"),
        ("text.no_name", "warning"),
    }
    assert read_restricted(RESTRICTED, before) == read_restricted(RESTRICTED, sirius)
    assert before.strata == sirius.strata
    assert before.storage is None
    assert criterion(PLAIN).in_language("zh_Hans") == "Neuropsychiatric lupus"
    assert str(before.treatment_label("sirolimus")) == "sirolimus"
    # English readers read what they read before: wordings were only added, behind each one of a list.
    assert {change.path for change in differences(before, sirius) if not change.new.startswith(change.old)} == {
        "masking",
        "registry.collaborators",
        "assumptions",
    }


def test_a_changed_wording_is_a_difference_of_that_language() -> None:
    text = edited(PUBLIC, "神经精神性狼疮", "神经精神狼疮")
    text = edited(text, 'phase = "2"', 'phase = { en = "2", zh_Hans = "2 期" }')

    assert differences(sirius, read_definition(text)) == [
        Difference("registry.phase", "2", "2 / 2 期"),
        Difference("criteria[E02].text.zh_Hans", "神经精神性狼疮", "神经精神狼疮"),
    ]
