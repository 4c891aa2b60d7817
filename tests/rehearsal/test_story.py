"""The story of a seed: what people, parcels and boxes meet with, and that nothing the system does can change it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import islice, takewhile
from statistics import fmean

import pytest

from rts.rehearsal.story import Chance, Chances, Person, Story
from rts.trial.reading import read_definition
from rts.trial.shipped import shipped_definition

SIRIUS = read_definition(shipped_definition("sirius")[0])

# Site, day of activation and rate of randomisations a day, as planned for twenty sites.
PLANNED_SITES = [
    ("CN01", 0, 0.001302),
    ("CN02", 3, 0.015962),
    ("CN03", 6, 0.039433),
    ("CN04", 9, 0.003373),
    ("CN05", 12, 0.018442),
    ("CN06", 15, 0.044977),
    ("CN07", 18, 0.005344),
    ("CN08", 21, 0.021111),
    ("CN09", 24, 0.051863),
    ("CN10", 27, 0.007319),
    ("CN11", 30, 0.024013),
    ("CN12", 33, 0.061001),
    ("CN13", 36, 0.009341),
    ("CN14", 39, 0.027201),
    ("CN15", 42, 0.074747),
    ("CN16", 45, 0.011439),
    ("CN17", 48, 0.030754),
    ("CN18", 51, 0.103964),
    ("CN19", 54, 0.013637),
    ("CN20", 57, 0.034778),
]


def people(seed: int, site: str, count: int) -> list[Person]:
    return list(islice(Story(SIRIUS, seed).people_of(site), count))


def many_people() -> list[Person]:
    return [person for seed in range(20) for person in people(seed, "CN18", 100)]


def test_the_sites_are_those_of_the_plan() -> None:
    start = date(2026, 1, 5)

    assert [
        (site.code, (site.planned_opening - start).days, site.planned_rate) for site in SIRIUS.sites
    ] == PLANNED_SITES


def test_the_same_seed_tells_the_same_story() -> None:
    assert people(1, "CN12", 50) == people(1, "CN12", 50)
    assert people(1, "CN12", 50) != people(2, "CN12", 50)


def test_the_story_of_one_site_does_not_depend_on_who_was_asked_for_first() -> None:
    story = Story(SIRIUS, 1)
    first, second = story.people_of("CN03"), story.people_of("CN12")

    in_turns = [next(stream) for _ in range(10) for stream in (second, first)]

    assert in_turns[1::2] == people(1, "CN03", 10)
    assert in_turns[0::2] == people(1, "CN12", 10)


def test_a_parcel_and_a_box_have_their_fate_from_their_names_alone() -> None:
    chances = Chances(shipment_loss=0.5, excursion=0.5, kit_damage=0.5)
    story, again = Story(SIRIUS, 1, chances), Story(SIRIUS, 1, chances)

    forwards = [(story.parcel("CN03", nth), story.box("CN03", nth, 2)) for nth in range(1, 20)]
    backwards = [(again.parcel("CN03", nth), again.box("CN03", nth, 2)) for nth in range(19, 0, -1)]

    assert forwards == backwards[::-1]
    assert len(set(forwards)) > 4


def test_people_come_as_often_as_randomisations_and_screen_failures_need() -> None:
    opening = SIRIUS.site("CN18").planned_opening

    came = [
        sum(1 for _ in takewhile(lambda person: (person.consent_on - opening).days < 1000, stream))
        for stream in (Story(SIRIUS, seed).people_of("CN18") for seed in range(40))
    ]

    assert min(person.consent_on for person in many_people()) >= opening
    assert fmean(came) == pytest.approx(0.103964 / 0.75 * 1000, abs=4 * (0.103964 / 0.75 * 1000 / 40) ** 0.5)


def test_screening_takes_7_to_21_days_and_a_quarter_fail() -> None:
    found = many_people()

    assert {person.screening_days for person in found} == set(range(7, 22))
    assert fmean(person.screening_days for person in found) == pytest.approx(14, abs=0.4)
    assert fmean(person.fails_screening for person in found) == pytest.approx(0.25, abs=0.04)


def test_one_in_fifty_drops_out_in_28_days() -> None:
    gone = [person.days_in_treatment <= 28 for person in many_people()]

    assert fmean(gone) == pytest.approx(0.02, abs=0.0125)


def test_visits_fall_on_every_day_of_their_window_and_on_no_other() -> None:
    found = many_people()

    assert {person.shifts["W0"] for person in found} == {0}
    assert {person.shifts["W8"] for person in found} == set(range(-3, 4))
    assert {person.shifts["W24"] for person in found} == set(range(-3, 4))
    assert all("W24" not in person.replaced_after for person in found)


def test_one_kit_in_a_hundred_is_replaced() -> None:
    found = many_people()

    assert sum(len(person.replaced_after) for person in found) / (6 * len(found)) == pytest.approx(0.01, abs=0.004)


def test_every_stratum_is_as_likely_and_every_value_possible() -> None:
    found = many_people()
    strata = Counter(SIRIUS.stratum_of(person.values) for person in found)

    assert set(strata) == set(SIRIUS.strata)
    assert all(count / len(found) == pytest.approx(0.25, abs=0.04) for count in strata.values())
    assert all(factor.fits_decimals(person.values[factor.code]) for person in found for factor in SIRIUS.factors)


def test_parcels_and_boxes_fare_as_planned() -> None:
    story = Story(SIRIUS, 1)
    parcels = [story.parcel("CN03", nth) for nth in range(1, 10_001)]
    boxes = [story.box("CN03", nth, 1) for nth in range(1, 10_001)]

    assert fmean(parcel.is_lost for parcel in parcels) == pytest.approx(0.003, abs=0.0022)
    assert fmean(parcel.has_excursion for parcel in parcels) == pytest.approx(0.01, abs=0.004)
    assert {parcel.decision_days for parcel in parcels} == set(range(3, 11))
    assert fmean(parcel.is_rejected for parcel in parcels) == pytest.approx(0.3, abs=0.02)
    assert fmean(box.arrives_damaged or box.shelf_days is not None for box in boxes) == pytest.approx(0.005, abs=0.003)


def test_a_stream_of_chance_is_fixed_for_ever() -> None:
    chance = Chance(1, "person", "CN03", 7)

    assert [chance.whole(0, 999) for _ in range(4)] == [481, 218, 772, 651]
