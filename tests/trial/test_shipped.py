import re
from dataclasses import astuple
from datetime import date, time

import pytest

from rts.refusal import Refusal
from rts.trial.definition import Calendar, Caps, ExpiryRules, StorageRules, SupplyClass, Treatment
from rts.trial.procedures import written_form
from rts.trial.reading import check_definition, read_definition, read_restricted
from rts.trial.shipped import shipped_definition
from rts.trial.texts import by_language
from tests.trial.texts import PUBLIC, RESTRICTED

sirius = read_definition(PUBLIC)
restricted = read_restricted(RESTRICTED, sirius)


def test_sirius_has_neither_mistake_nor_warning() -> None:
    assert check_definition(PUBLIC, RESTRICTED) == ()


def test_sirius_states_the_facts_of_its_registry_record() -> None:
    assert (sirius.code, sirius.target, sirius.registry.number) == ("SIRIUS", 146, "NCT04582136")
    assert sirius.registry.secondary == ("CSTAR_RCT_SLE_001",)
    assert (sirius.registry.registered_on, sirius.registry.first_enrolment_on) == (date(2020, 10, 3), date(2021, 3, 4))
    assert str(sirius.registry.sponsor) == "Chinese SLE Treatment and Research Group"
    assert [str(who) for who in sirius.masking] == [
        "participant",
        "care provider",
        "investigator",
        "outcomes assessor",
    ]
    assert sirius.treatments == (
        Treatment("sirolimus", by_language({"en": "sirolimus", "zh_Hans": "西罗莫司"}), 1),
        Treatment("matching placebo", by_language({"en": "matching placebo", "zh_Hans": "匹配安慰剂"}), 1),
    )
    assert sirius.registry.countries == ("CN",)
    assert sirius.end_of_treatment_day == 24 * 7


def test_sirius_has_nine_inclusion_and_eighteen_exclusion_criteria_of_which_two_are_checked_by_the_system() -> None:
    kinds = [criterion.kind for criterion in sirius.criteria]
    checked = {c.code: (c.rule, c.minimum, c.maximum) for c in sirius.criteria if c.rule != "confirm"}

    assert (kinds.count("inclusion"), kinds.count("exclusion")) == (9, 18)
    assert checked == {"I01": ("age", 18, 65), "I06": ("factor", 0, 20)}


def test_sirius_dispenses_one_kit_at_each_of_six_visits_and_none_at_week_24() -> None:
    rows = [
        (visit.code, visit.day, visit.window_before, visit.window_after, visit.quantity("standard", "study-drug"))
        for visit in sirius.visits
    ]

    assert rows == [
        ("W0", 0, 0, 0, 1),
        ("W4", 28, 3, 3, 1),
        ("W8", 56, 3, 3, 1),
        ("W12", 84, 3, 3, 1),
        ("W16", 112, 3, 3, 1),
        ("W20", 140, 3, 3, 1),
        ("W24", 168, 3, 3, 0),
    ]
    assert sirius.expiry == ExpiryRules(dnd=31, dnc=38, dns=60, dnd_by_visit={})
    assert sirius.storage == StorageRules(minimum=2.0, maximum=30.0, allowed_minutes_out_of_range=60)


@pytest.mark.requirement("RAND-09")
def test_sirius_has_four_strata_cut_at_ten() -> None:
    assert sirius.strata == (
        "SLEDAI-LOW.STEROID-LOW",
        "SLEDAI-LOW.STEROID-HIGH",
        "SLEDAI-HIGH.STEROID-LOW",
        "SLEDAI-HIGH.STEROID-HIGH",
    )
    assert sirius.stratum_of({"SLEDAI": 9, "STEROID": 9.9}) == "SLEDAI-LOW.STEROID-LOW"
    assert sirius.stratum_of({"SLEDAI": 10, "STEROID": 10}) == "SLEDAI-HIGH.STEROID-HIGH"
    assert sirius.stratum_of({"SLEDAI": 4, "STEROID": 20}) == "SLEDAI-LOW.STEROID-HIGH"
    assert sirius.stratum_of({"SLEDAI": 105, "STEROID": 0}) == "SLEDAI-HIGH.STEROID-LOW"


def test_sirius_has_twenty_sites_and_a_depot_in_shanghai() -> None:
    first, last = sirius.sites[0], sirius.sites[-1]

    assert [site.code for site in sirius.sites] == [f"CN{number:02}" for number in range(1, 21)]
    assert (str(first.city), first.planned_opening, first.transit_days) == ("Beijing", date(2026, 1, 5), 1)
    assert (first.planned_rate, first.supply_class) == (0.001302, "low")
    assert (str(last.city), last.planned_opening, last.transit_days) == ("Urumqi", date(2026, 3, 3), 4)
    assert (last.planned_rate, last.supply_class) == (0.034778, "medium")
    assert sum(site.planned_rate for site in sirius.sites) == pytest.approx(20 * 0.03, abs=1e-5)
    assert {site.time_zone for site in sirius.sites} == {"Asia/Shanghai"}
    depot = sirius.depot("DEP-SH")
    assert (depot.cut_off, depot.processing_days, depot.ship_weekdays) == (time(14), 1, (1, 2, 3, 4))
    assert all(site.calendar == depot.calendar for site in sirius.sites)


def test_the_chinese_calendar_holds_the_closed_dates_and_weekends_worked_of_2026() -> None:
    calendar = sirius.depot("DEP-SH").calendar

    assert calendar == Calendar(
        working_weekdays=(1, 2, 3, 4, 5),
        closed=tuple(
            date(2026, month, day)
            for month, days in (
                (1, range(1, 4)),
                (2, range(15, 24)),
                (4, range(4, 7)),
                (5, range(1, 6)),
                (6, range(19, 22)),
                (9, range(25, 28)),
                (10, range(1, 8)),
            )
            for day in days
        ),
        makeup=tuple(date(2026, *day) for day in ((1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10))),
        known_until=date(2026, 12, 31),
    )


def test_sirius_is_supplied_by_prediction_with_a_level_for_each_class() -> None:
    supply = sirius.supply

    assert (supply.policy, supply.fires, supply.scope, supply.blind_rule) == (
        "predictive",
        "le",
        "all",
        "at_least_one_each",
    )
    assert (supply.short_window, supply.long_window, supply.new_subjects) == (14, 42, False)
    assert (supply.prior_shape, supply.prior_rate, supply.epsilon) == (1.2, 40.0, 0.01)
    assert (supply.minimum_consignment, supply.maximum_consignment, supply.pack) == (2, 60, 1)
    assert supply.classes == (
        SupplyClass("low", 2, 1, 2, 1, 2),
        SupplyClass("medium", 3, 2, 4, 2, 3),
        SupplyClass("high", 4, 3, 6, 3, 5),
    )
    assert sirius.caps == Caps(trial=146, site=None, stratum=None, by_site={}, by_stratum={})


def test_the_restricted_part_plans_two_lists_of_kits_and_one_of_subjects() -> None:
    assert written_form(restricted.procedure) == {"name": "permuted-blocks", "block_sizes": [4, 6]}
    assert [(plan.list_id, plan.prefix, plan.length) for plan in restricted.subject_lists] == [("SIRIUS-R1", "R", 148)]
    assert [
        (plan.list_id, plan.prefix, plan.released_from, plan.expiry, sorted(plan.quantities.values()))
        for plan in restricted.kit_lists
    ] == [
        ("SIRIUS-K1", "K", date(2025, 12, 22), date(2027, 1, 5), [300, 300]),
        ("SIRIUS-K2", "L", date(2026, 6, 4), date(2027, 10, 7), [270, 270]),
    ]


def test_opaque_codes_are_of_one_length_in_alphabetical_order_and_share_no_initial_with_a_treatment() -> None:
    for codes in ([arm.code for arm in restricted.arms], [kit_type.code for kit_type in restricted.kit_types]):
        assert len({len(code) for code in codes}) == 1
        assert codes == sorted(codes)
        assert not {code[0] for code in codes} & {"S", "P", "M", "A", "C", "T"}


def test_nothing_of_the_restricted_part_stands_in_the_public_one() -> None:
    secrets = [arm.code for arm in restricted.arms] + [kit_type.code for kit_type in restricted.kit_types]
    secrets += [lot for plan in restricted.kit_lists for lot in plan.manufacturing_lots.values()]

    assert [secret for secret in secrets if secret in PUBLIC] == []
    assert "block_sizes" not in PUBLIC
    assert not any("KILDU" in str(value) for value in astuple(sirius))


def test_the_restricted_part_shows_nothing_of_itself() -> None:
    parts = [restricted, restricted.arms, restricted.kit_types, restricted.subject_lists, restricted.kit_lists]

    assert repr(restricted) == "<sealed>"
    assert not re.search("ORVEN|KILDU|GAFIB|WUBEK|SIRIUS", " ".join(map(repr, parts)))


def test_assumptions_name_the_values_the_registry_does_not_state() -> None:
    named = {key for assumption in sirius.assumptions for key in assumption.keys}

    assert {"treatments.ratio", "factors", "visits", "expiry", "sites", "depots", "supply", "caps"} <= named
    assert not {"trial.target", "registry", "inclusion", "exclusion"} & named


def test_a_trial_that_is_not_shipped_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        shipped_definition("../sirius/sirius")

    assert refusal.value.rules == ("definition.not_shipped",)
    assert refusal.value.code == "not_found"
