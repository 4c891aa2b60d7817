"""What must hold between the values of a trial definition, beyond the shape of each.

A rule looks only at values that were read soundly, so that one slip is reported once and not again as its consequences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from zoneinfo import available_timezones

from rts.refusal import LANGUAGES, say
from rts.states import GATES
from rts.trial.definition import (
    Calendar,
    Factor,
    Level,
    RestrictedDefinition,
    SubjectListPlan,
    TrialDefinition,
    Visit,
)
from rts.trial.document import Document
from rts.trial.lines import Path
from rts.trial.procedures import SITE, Minimisation, PermutedBlocks, check_for_list

NO_DATE = date(1, 1, 1)
# Nightly resupply looks at each site once a day.
REVIEW_DAYS = 1

_WORD = re.compile(r"[^\W\d_]{2}")
_COUNTRY = re.compile("[A-Z]{2}")
_PREFIX = re.compile("[A-Z]{1,3}")


def check_public(document: Document, definition: TrialDefinition, calendars: dict[str, Calendar]) -> None:
    """Report every rule of the public part, with its calendars by name, that does not hold."""
    _check_identity(document, definition)
    _check_texts(document, definition)
    _check_names(document, definition)
    _check_duplicates(document, ("treatments",), [treatment.name for treatment in definition.treatments], "name")
    _check_strata(document, definition)
    _check_checklist(document, definition)
    _check_visits(document, definition)
    _check_expiry(document, definition)
    _check_storage(document, definition)
    _check_calendars(document, calendars)
    _check_network(document, definition)
    _check_supply(document, definition)
    _check_caps(document, definition)


def check_restricted(document: Document, restricted: RestrictedDefinition, public: TrialDefinition | None) -> None:
    """Report every rule of the restricted part that does not hold; without `public`, those that need none of it.

    No message quotes a code, block size or quantity: a refusal reaches pages and logs.
    """
    if not document.is_readable:
        return
    _check_duplicates(document, ("arms",), [arm.code for arm in restricted.arms])
    _check_duplicates(document, ("kit_types",), [kit_type.code for kit_type in restricted.kit_types])
    _check_kit_types(document, restricted, public)
    _check_list_plans(document, restricted)
    if public is not None:
        _check_arms(document, restricted, public)
        _check_procedure(document, restricted, public)
        _check_lengths(document, restricted, public)
        _check_lot_dates(document, restricted, public)


def _check_duplicates(document: Document, array: Path, codes: Sequence[str], key: str = "code") -> None:
    for index, code in enumerate(codes):
        if code and code in codes[:index]:
            document.report((*array, index, key), "code.duplicate", say("is used by an earlier one already"))


def _check_identity(document: Document, definition: TrialDefinition) -> None:
    for index, language in enumerate(definition.languages):
        if language not in LANGUAGES:
            message = say("no such language; known are: %(known)s", known=", ".join(LANGUAGES))
            document.report(("trial", "languages", index), "language.unknown", message)
    if document.is_sound(("trial", "languages")) and not definition.languages:
        document.report(("trial", "languages"), "list.empty", say("must hold at least one language"))
    for index, country in enumerate(definition.registry.countries):
        if not _COUNTRY.fullmatch(country):
            message = say("must be a country code of two capital letters")
            document.report(("registry", "countries", index), "country.form", message)
    first = definition.registry.first_enrolment_on
    dates = (("registry", "registered_on"), ("registry", "first_enrolment_on"))
    if first and document.is_sound(*dates) and first < definition.registry.registered_on:
        message = say("first enrolment stands before registration")
        document.report(dates[1], "date.order", message, warning=True)


def _check_texts(document: Document, definition: TrialDefinition) -> None:
    """Every text is there in every language of the definition.

    One that is given by language and lacks one is an error: somebody would read a foreign language amid their own. A
    plain one is meant for all, as a number or an abbreviation can be, so words in it only ask for a look; definitions
    loaded before texts had languages hold nothing else.
    """
    if not document.is_sound(("trial", "languages")):
        return
    for path, text in document.texts.items():
        if not document.is_sound(path):
            continue
        lacking = [language for language in definition.languages if language not in text.languages]
        if not text.is_plain and lacking:
            message = say("lacks %(languages)s, named in trial.languages", languages=", ".join(lacking))
            document.report(path, "text.language_missing", message)
        elif text.is_plain and len(definition.languages) > 1 and _WORD.search(str(text)):
            message = say("is the same in every language: write it as { %(form)s }", form=_form(definition.languages))
            document.report(path, "text.one_language", message, warning=True)


def _form(languages: Sequence[str]) -> str:
    return ", ".join(f'{language} = "…"' for language in languages)


def _check_names(document: Document, definition: TrialDefinition) -> None:
    """Names are given to codes that there are; what has none, but for a common gate, people read by its code."""
    for table, key, codes, names, common in (
        ("trial", "gates", definition.gates, definition.gate_names, GATES),
        ("dosing", "levels", definition.dose_levels, definition.dose_level_names, {}),
        ("dosing", "kit_groups", definition.kit_groups, definition.kit_group_names, {}),
    ):
        if not document.is_sound((table, key)):
            continue
        named = f"{key.removesuffix('s')}_names"
        for code in names:
            if code not in codes:
                message = say("names nothing in %(table)s.%(key)s", table=table, key=key)
                document.report((table, named, code), "reference.unknown", message)
        for index, code in enumerate(codes):
            if len(definition.languages) > 1 and code not in names and code not in common:
                message = say("has no name in [%(table)s.%(named)s], so people read the code", table=table, named=named)
                document.report((table, key, index), "text.no_name", message, warning=True)


def _check_strata(document: Document, definition: TrialDefinition) -> None:
    _check_duplicates(document, ("factors",), [factor.code for factor in definition.factors])
    for index, factor in enumerate(definition.factors):
        path: Path = ("factors", index)
        _check_duplicates(document, (*path, "levels"), [level.code for level in factor.levels])
        for position, level in enumerate(factor.levels):
            if "." in level.code:
                message = say("must hold no full stop: a stratum's code joins level codes with one")
                document.report((*path, "levels", position, "code"), "code.form", message)
        if not document.is_sound(path):
            continue
        if factor.minimum >= factor.maximum:
            document.report((*path, "maximum"), "number.order", say("must be more than minimum"))
        else:
            _check_levels(document, path, factor)
    if document.is_sound(("factors",)):
        for stratum in definition.strata:
            if len(stratum) > 40:
                message = say("stratum code %(stratum)s is longer than 40 characters", stratum=stratum)
                document.report(("factors",), "stratum.code", message)


def _check_levels(document: Document, path: Path, factor: Factor) -> None:
    """Every value of the factor belongs to exactly one level.

    Levels change only at their cuts, so it is enough to test each cut, the values one step of the last decimal on
    either side of it, and both ends of the range.
    """
    step = Decimal(1).scaleb(-factor.decimals)
    low, high = Decimal(str(factor.minimum)), Decimal(str(factor.maximum))
    points = {low, high}
    cuts: list[tuple[Path, Decimal]] = [((*path, "minimum"), low), ((*path, "maximum"), high)]
    for index, level in enumerate(factor.levels):
        place: Path = (*path, "levels", index)
        for key, bound in (("at_least", level.at_least), ("below", level.below)):
            if bound is not None:
                cut = Decimal(str(bound))
                cuts.append(((*place, key), cut))
                points |= {point for point in (cut - step, cut, cut + step) if low <= point <= high}
        if not any(_is_in(level, point) for point in _edges(level, low, high, step)):
            document.report(place, "strata.empty_level", say("no value between minimum and maximum falls into it"))
    for place, cut in cuts:
        if not factor.fits_decimals(float(cut)):
            message = say("has more decimals than the factor's %(decimals)d", decimals=factor.decimals)
            document.report(place, "strata.decimals", message)
    if not all(factor.fits_decimals(float(cut)) for _, cut in cuts):
        return
    for point in sorted(points):
        holders = [level.code for level in factor.levels if _is_in(level, point)]
        if not holders:
            document.report(
                (*path, "levels"), "strata.gap", say("no level holds %(value)s", value=f"{point.normalize():f}")
            )
        elif len(holders) > 1:
            message = say("%(value)s falls into %(levels)s", value=f"{point.normalize():f}", levels=", ".join(holders))
            document.report((*path, "levels"), "strata.overlap", message)


def _is_in(level: Level, point: Decimal) -> bool:
    return (level.at_least is None or point >= Decimal(str(level.at_least))) and (
        level.below is None or point < Decimal(str(level.below))
    )


def _edges(level: Level, low: Decimal, high: Decimal, step: Decimal) -> list[Decimal]:
    """The lowest and highest value within the range that the level could hold."""
    first = low if level.at_least is None else max(low, Decimal(str(level.at_least)))
    last = high if level.below is None else min(high, Decimal(str(level.below)) - step)
    return [first] if first <= last else []


def _check_checklist(document: Document, definition: TrialDefinition) -> None:
    codes = [criterion.code for criterion in definition.criteria]
    places = [
        (kind, index)
        for kind in ("inclusion", "exclusion")
        for index in range(sum(criterion.kind == kind for criterion in definition.criteria))
    ]
    factors = {factor.code: factor for factor in definition.factors}
    ages = 0
    for number, (place, criterion) in enumerate(zip(places, definition.criteria, strict=True)):
        if criterion.code and criterion.code in codes[:number]:
            document.report((*place, "code"), "code.duplicate", say("is used by an earlier one already"))
        bounds = (criterion.minimum, criterion.maximum)
        if criterion.rule == "confirm":
            if criterion.factor or bounds != (None, None):
                message = say('factor, minimum and maximum need rule = "age" or "factor"')
                document.report((*place, "rule"), "criterion.rule", message)
            continue
        if criterion.kind != "inclusion":
            message = say("the system checks inclusion criteria only; turn the rule round")
            document.report((*place, "rule"), "criterion.kind", message)
        if criterion.minimum is not None and criterion.maximum is not None and criterion.minimum > criterion.maximum:
            document.report((*place, "maximum"), "number.order", say("must not be less than minimum"))
        if criterion.rule == "age":
            ages += 1
            if ages > 1:
                document.report((*place, "rule"), "criterion.rule", say("age is checked by an earlier one already"))
            if criterion.factor:
                document.report((*place, "factor"), "criterion.rule", say("an age rule names no factor"))
            for key, bound in (("minimum", criterion.minimum), ("maximum", criterion.maximum)):
                if bound is None:
                    document.report((*place, key), "key.missing", say("an age rule needs %(key)s", key=key))
                elif bound < 0 or bound != int(bound):
                    document.report((*place, key), "type.wrong", say("must be whole years"))
        elif criterion.rule == "factor":
            if document.is_sound(("factors",)) and criterion.factor not in factors:
                document.report((*place, "factor"), "reference.unknown", say("no such factor in [[factors]]"))
            if bounds == (None, None):
                document.report(place, "key.missing", say("a factor rule needs minimum, maximum or both"))


def _check_visits(document: Document, definition: TrialDefinition) -> None:
    _check_duplicates(document, ("visits",), [visit.code for visit in definition.visits])
    for index, visit in enumerate(definition.visits):
        path: Path = ("visits", index)
        for level, quantities in visit.kits.items():
            if level not in definition.dose_levels:
                message = say("no such dose level in dosing.levels")
                document.report((*path, "kits", level), "reference.unknown", message)
            for group in quantities:
                if group not in definition.kit_groups:
                    message = say("no such kit group in dosing.kit_groups")
                    document.report((*path, "kits", level, group), "reference.unknown", message)
    for index, (earlier, later) in enumerate(pairwise(definition.visits), start=1):
        path = ("visits", index)
        if not document.is_sound(("visits", index - 1, "day"), (*path, "day")):
            continue
        if later.day <= earlier.day:
            document.report((*path, "day"), "visit.order", say("must be later than the visit before it"))
        elif (
            document.is_sound(("visits", index - 1), path)
            and earlier.day + earlier.window_after >= later.day - later.window_before
        ):
            message = say("its window overlaps that of %(visit)s", visit=earlier.code)
            document.report((*path, "window_before"), "visit.overlap", message)
    if document.is_sound(("visits",)) and not any(map(_dispenses, definition.visits)):
        document.report(("visits",), "visit.no_kits", say("no visit dispenses anything"))
    ending = ("dosing", "end_of_treatment_day")
    if document.is_sound(ending, ("visits",)):
        last = max((visit.day for visit in definition.visits if _dispenses(visit)), default=0)
        if definition.end_of_treatment_day <= last:
            document.report(ending, "visit.order", say("must be later than the last visit that dispenses"))
    _check_units(document, definition)
    for key, codes in (("levels", definition.dose_levels), ("kit_groups", definition.kit_groups)):
        if document.is_sound(("dosing", key)) and not codes:
            document.report(("dosing", key), "list.empty", say("must hold at least one"))


def _check_units(document: Document, definition: TrialDefinition) -> None:
    """What a kit holds, and what is taken of it a day: of groups and levels that there are."""
    for group in definition.units_a_kit:
        if group not in definition.kit_groups:
            message = say("no such kit group in dosing.kit_groups")
            document.report(("dosing", "units_a_kit", group), "reference.unknown", message)
    for level, by_group in definition.units_a_day.items():
        if level not in definition.dose_levels:
            message = say("no such dose level in dosing.levels")
            document.report(("dosing", "units_a_day", level), "reference.unknown", message)
        for group in by_group:
            if group not in definition.units_a_kit:
                message = say("dosing.units_a_kit does not say what a kit of this group holds")
                document.report(("dosing", "units_a_day", level, group), "units.kit_unknown", message)


def _dispenses(visit: Visit) -> bool:
    return any(quantity for quantities in visit.kits.values() for quantity in quantities.values())


def _check_storage(document: Document, definition: TrialDefinition) -> None:
    storage = definition.storage
    if storage is None:
        return
    for key, value in (("minimum", storage.minimum), ("maximum", storage.maximum)):
        if document.is_sound(("storage", key)) and round(value, 1) != value:
            document.report(("storage", key), "storage.decimals", say("has at most one decimal"))
    if document.is_sound(("storage",)) and storage.minimum >= storage.maximum:
        document.report(("storage", "maximum"), "storage.order", say("must be more than the minimum"))


def _check_expiry(document: Document, definition: TrialDefinition) -> None:
    expiry = definition.expiry
    if not document.is_sound(("expiry",), ("visits",)):
        return
    codes = [visit.code for visit in definition.visits]
    for code in expiry.dnd_by_visit:
        if code not in codes:
            document.report(("expiry", "dnd_by_visit", code), "reference.unknown", say("no such visit"))
    longest_dnd = max(expiry.dnd, *expiry.dnd_by_visit.values(), 0)
    if longest_dnd > expiry.dnc:
        document.report(("expiry", "dnc"), "expiry.order", say("DNC must not be less than any DND"))
    if expiry.dnc > expiry.dns:
        document.report(("expiry", "dns"), "expiry.order", say("DNS must not be less than DNC"))
    dispensing = [visit for visit in definition.visits if _dispenses(visit)]
    for visit, following in zip(dispensing, [*dispensing[1:], None], strict=True):
        if following:
            days = following.day + following.window_after - visit.day
        else:
            days = definition.end_of_treatment_day - visit.day
        if expiry.dnd_at(visit.code) < days:
            message = say(
                "DND at %(visit)s is shorter than the %(days)d days until the next dispensing and its window",
                visit=visit.code,
                days=days,
            )
            own = visit.code in expiry.dnd_by_visit
            place: Path = ("expiry", "dnd_by_visit", visit.code) if own else ("expiry", "dnd")
            document.report(place, "expiry.dnd_short", message, warning=True)
    if document.is_sound(("expiry",), ("sites",), ("depots",)) and definition.sites:
        processing = {depot.code: depot.processing_days for depot in definition.depots}
        lead = max(site.transit_days + processing.get(site.depot, 0) for site in definition.sites)
        if expiry.dnc < longest_dnd + lead + REVIEW_DAYS:
            message = say(
                "DNC is less than DND, the longest lead (%(lead)d days) and the review together: "
                "a counted kit may come too late to be dispensed",
                lead=lead,
            )
            document.report(("expiry", "dnc"), "expiry.dnc_short", message, warning=True)
        if expiry.dns < expiry.dnc + lead:
            message = say(
                "DNS is less than DNC and the longest lead (%(lead)d days) together: "
                "a shipped kit may no longer count on arrival",
                lead=lead,
            )
            document.report(("expiry", "dns"), "expiry.dns_short", message, warning=True)


def _check_calendars(document: Document, calendars: dict[str, Calendar]) -> None:
    for name, calendar in calendars.items():
        path: Path = ("calendars", name)
        if document.is_sound(path):
            _check_calendar(document, path, calendar)


def _check_calendar(document: Document, path: Path, calendar: Calendar) -> None:
    for key, days in (("closed", calendar.closed), ("makeup", calendar.makeup)):
        for index, day in enumerate(days):
            place = (*path, key, index)
            if day in days[:index]:
                document.report(place, "calendar.duplicate", say("%(day)s is listed twice", day=day))
            if day > calendar.known_until:
                document.report(place, "calendar.after_known", say("%(day)s is after known_until", day=day))
    for index, day in enumerate(calendar.makeup):
        place = (*path, "makeup", index)
        if day in calendar.closed:
            document.report(place, "calendar.makeup", say("%(day)s is closed and worked at once", day=day))
        if day.isoweekday() in calendar.working_weekdays:
            document.report(place, "calendar.makeup", say("%(day)s is a working day without making up", day=day))


def _check_network(document: Document, definition: TrialDefinition) -> None:
    depots = [depot.code for depot in definition.depots]
    classes = [supply_class.code for supply_class in definition.supply.classes]
    _check_duplicates(document, ("depots",), depots)
    _check_duplicates(document, ("sites", "list"), [site.code for site in definition.sites])
    for index, depot in enumerate(definition.depots):
        path: Path = ("depots", index)
        _check_place(document, path, depot.country, depot.time_zone)
        if depot.code and depot.code in [site.code for site in definition.sites]:
            document.report((*path, "code"), "code.duplicate", say("is the code of a site"))
        if depot.parent and depot.parent not in depots:
            document.report((*path, "parent"), "reference.unknown", say("no such depot in [[depots]]"))
        elif _is_its_own_ancestor(depot.code, {each.code: each.parent for each in definition.depots}):
            document.report((*path, "parent"), "depot.circle", say("is supplied, in the end, by itself"))
    for index, site in enumerate(definition.sites):
        path = ("sites", "list", index)
        _check_place(document, path, site.country, site.time_zone)
        if site.depot and site.depot not in depots:
            document.report((*path, "depot"), "reference.unknown", say("no such depot in [[depots]]"))
        if site.supply_class and site.supply_class not in classes:
            message = say("no such class in supply.classes")
            document.report((*path, "supply_class"), "reference.unknown", message)


def _is_its_own_ancestor(depot: str, parents: dict[str, str]) -> bool:
    seen: list[str] = []
    above = parents.get(depot, "")
    while above and above not in seen:
        seen.append(above)
        above = parents.get(above, "")
    return bool(depot) and depot in seen


def _check_place(document: Document, path: Path, country: str, time_zone: str) -> None:
    if country and not _COUNTRY.fullmatch(country):
        message = say("must be a country code of two capital letters")
        document.report((*path, "country"), "country.form", message)
    if time_zone and time_zone not in _time_zones():
        document.report((*path, "time_zone"), "time_zone.unknown", say("no such time zone; write it as Asia/Shanghai"))


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _check_supply(document: Document, definition: TrialDefinition) -> None:
    supply = definition.supply
    _check_duplicates(document, ("supply", "classes"), [each.code for each in supply.classes])
    _check_order(document, ("supply",), "short_window", "long_window", supply.short_window, supply.long_window)
    _check_order(
        document,
        ("supply",),
        "minimum_consignment",
        "maximum_consignment",
        supply.minimum_consignment,
        supply.maximum_consignment,
    )
    if document.is_sound(("supply", "epsilon")) and supply.epsilon >= 1:
        document.report(("supply", "epsilon"), "number.bounds", say("is a probability: more than 0, less than 1"))
    for index, row in enumerate(supply.classes):
        path: Path = ("supply", "classes", index)
        _check_order(document, path, "minimum", "maximum", row.minimum, row.maximum)
        _check_order(document, path, "buffer_minimum", "buffer_maximum", row.buffer_minimum, row.buffer_maximum)


def _check_order(document: Document, table: Path, low_key: str, high_key: str, low: int, high: int) -> None:
    if document.is_sound((*table, low_key), (*table, high_key)) and low > high:
        document.report((*table, high_key), "number.order", say("must not be less than %(key)s", key=low_key))


def _check_caps(document: Document, definition: TrialDefinition) -> None:
    caps = definition.caps
    for key, named, known in (
        ("by_site", caps.by_site, [site.code for site in definition.sites]),
        ("by_stratum", caps.by_stratum, list(definition.strata)),
    ):
        for name in named:
            if document.is_sound(("sites", "list"), ("factors",)) and name not in known:
                document.report(("caps", key, name), "reference.unknown", say("there is none of this code"))
    if not document.is_sound(("caps",), ("trial", "target"), ("factors",), ("sites",)):
        return
    below = say("lets fewer subjects in than the target of %(target)d", target=definition.target)
    if caps.trial < definition.target:
        document.report(("caps", "trial"), "caps.below_target", below)
    for key, each, named, codes in (
        ("site", caps.site, caps.by_site, [site.code for site in definition.sites]),
        ("stratum", caps.stratum, caps.by_stratum, list(definition.strata)),
    ):
        most = [named.get(code, each) for code in codes]
        if None not in most and sum(cap for cap in most if cap is not None) < definition.target:
            document.report(("caps", key), "caps.below_target", below)


def _check_arms(document: Document, restricted: RestrictedDefinition, public: TrialDefinition) -> None:
    if document.is_sound(("trial",)) and restricted.trial != public.code:
        document.report(("trial",), "trial.other", say("belongs to another trial than the public part"))
    treatments = [treatment.name for treatment in public.treatments]
    told = [words for treatment in public.treatments for words in (treatment.name, *treatment.label.words)]
    stated = [arm.treatment for arm in restricted.arms]
    for index, arm in enumerate(restricted.arms):
        path: Path = ("arms", index)
        if arm.treatment and arm.treatment not in treatments:
            document.report((*path, "treatment"), "reference.unknown", say("no such treatment in the public part"))
        elif arm.treatment in stated[:index]:
            document.report((*path, "treatment"), "code.duplicate", say("two arms stand for one treatment"))
    if document.is_sound(("arms",)) and len(stated) < len(treatments):
        document.report(("arms",), "arms.missing", say("a treatment of the public part has no arm"))
    for array, codes in (
        ("arms", [arm.code for arm in restricted.arms]),
        ("kit_types", [kit_type.code for kit_type in restricted.kit_types]),
    ):
        for index, code in enumerate(codes):
            if code and any(_tells(code, name) for name in told):
                document.report((array, index, "code"), "code.tells", say("resembles a treatment's name"))


def _tells(code: str, treatment: str) -> bool:
    """True when the code holds, or is part of, a word of the treatment's name."""
    short = code.casefold()
    return any(short in word or word in short for word in treatment.casefold().split() if len(word) > 2)


def _check_kit_types(document: Document, restricted: RestrictedDefinition, public: TrialDefinition | None) -> None:
    arms = [arm.code for arm in restricted.arms]
    groups = list(public.kit_groups) if public else sorted({kit_type.group for kit_type in restricted.kit_types})
    pairs = [(kit_type.arm, kit_type.group) for kit_type in restricted.kit_types]
    for index, kit_type in enumerate(restricted.kit_types):
        path: Path = ("kit_types", index)
        if kit_type.arm and kit_type.arm not in arms:
            document.report((*path, "arm"), "reference.unknown", say("no such arm in [[arms]]"))
        if kit_type.group and kit_type.group not in groups:
            document.report((*path, "group"), "reference.unknown", say("no such kit group in the public part"))
        if pairs[index] in pairs[:index]:
            document.report(path, "kit_types.twice", say("an arm has two kit types of one group"))
    if document.is_sound(("arms",), ("kit_types",)):
        for group in groups:
            if any((arm, group) not in pairs for arm in arms):
                message = say("an arm has no kit type of group %(group)s", group=group)
                document.report(("kit_types",), "kit_types.missing", message)


def _check_list_plans(document: Document, restricted: RestrictedDefinition) -> None:
    plans = [("subject_lists", i, plan.list_id, plan.prefix) for i, plan in enumerate(restricted.subject_lists)]
    plans += [("kit_lists", i, plan.list_id, plan.prefix) for i, plan in enumerate(restricted.kit_lists)]
    ids: set[str] = set()
    prefixes: set[str] = set()
    for array, index, list_id, prefix in plans:
        if list_id in ids:
            document.report((array, index, "id"), "code.duplicate", say("is used by an earlier list already"))
        if prefix and not _PREFIX.fullmatch(prefix):
            document.report((array, index, "prefix"), "prefix.form", say("must be one to three capital letters"))
        if prefix in prefixes:
            document.report((array, index, "prefix"), "prefix.duplicate", say("is used by an earlier list already"))
        if array == "subject_lists" and not _goes_on_from_an_earlier_one(restricted.subject_lists, index):
            message = say("must be the id of a subject list further up")
            document.report((array, index, "extends"), "list.extends", message)
        ids |= {list_id} - {""}
        prefixes |= {prefix} - {""}
    _check_duplicates(document, ("kit_lists",), [plan.blinded_lot for plan in restricted.kit_lists], "blinded_lot")
    if not document.is_sound(("kit_lists",), ("kit_types",)):
        return
    by_group: dict[str, set[str]] = {}
    for kit_type in restricted.kit_types:
        by_group.setdefault(kit_type.group, set()).add(kit_type.code)
    known = {kit_type.code for kit_type in restricted.kit_types}
    type_of_lot: dict[str, str] = {}
    for index, plan in enumerate(restricted.kit_lists):
        for position, code in enumerate(plan.quantities):
            place: Path = ("kit_lists", index, "contents", position)
            if code not in known:
                document.report((*place, "kit_type"), "reference.unknown", say("no such kit type in [[kit_types]]"))
            if type_of_lot.setdefault(plan.manufacturing_lots[code], code) != code:
                message = say("one manufacturing lot cannot hold two kit types")
                document.report((*place, "manufacturing_lot"), "lot.two_types", message)
        if set(plan.quantities) <= known and set(plan.quantities) not in by_group.values():
            message = say("must give a quantity for every kit type of one group")
            document.report(("kit_lists", index, "contents"), "kit_list.types", message)


def _goes_on_from_an_earlier_one(plans: Sequence[SubjectListPlan], index: int) -> bool:
    return plans[index].extends in {"", *(plan.list_id for plan in plans[:index])}


def _check_procedure(document: Document, restricted: RestrictedDefinition, public: TrialDefinition) -> None:
    """Whether the procedure can make lists for these arms and lengths, and what tells too much of blocks."""
    table: Path = ("randomisation",)
    if not document.is_sound(table):
        return
    weights = [treatment.ratio for treatment in public.treatments]
    if isinstance(restricted.procedure, PermutedBlocks):
        _check_blocks(document, restricted.procedure.block_sizes, weights)
        return
    if isinstance(restricted.procedure, Minimisation):
        _check_weighed_factors(document, restricted.procedure, public)
    for index, plan in enumerate(restricted.subject_lists):
        if plan.imported and isinstance(restricted.procedure, Minimisation):
            message = say("a tape for minimisation is made here, never imported")
            document.report(("subject_lists", index, "imported"), "list.imported_tape", message)
        for failed in check_for_list(restricted.procedure, weights, plan.length):
            of_length = failed.field == "length"
            if of_length and plan.imported:
                continue  # its strata have lengths of their own, judged when it is read
            place: Path = ("subject_lists", index, "length") if of_length else (*table, "procedure")
            document.report(place, failed.rule, failed.message)


def _check_weighed_factors(document: Document, procedure: Minimisation, public: TrialDefinition) -> None:
    known = {factor.code for factor in public.factors}
    for factor, _ in procedure.weights:
        place: Path = ("randomisation", "weights", factor)
        if factor == SITE and SITE in known:
            message = say("means the subject's site, but a factor of the public part has this code too")
            document.report(place, "procedure.weights.site", message)
        elif factor not in {*known, SITE}:
            message = say('no such factor in the public part, nor "site" for the subject\'s site')
            document.report(place, "reference.unknown", message)


def _check_blocks(document: Document, block_sizes: Sequence[int], weights: Sequence[int]) -> None:
    path: Path = ("randomisation", "block_sizes")
    ratio = sum(weights)
    written = _written_sizes(document)
    for size in block_sizes:
        place = (*path, written.index(size))
        if size % ratio:
            message = say("must be a multiple of %(ratio)d, the sum of the allocation ratio", ratio=ratio)
            document.report(place, "blocks.ratio", message)
        elif size == len(weights):
            message = say("a block no longer than the number of arms lets the last allocation be guessed")
            document.report(place, "blocks.short", message, warning=True)
    if len(block_sizes) == 1:
        message = say("blocks of one size alone let the end of a block be guessed")
        document.report(path, "blocks.one_size", message, warning=True)


def _written_sizes(document: Document) -> list[object]:
    """The block sizes in the order of the file; the procedure keeps them in ascending order."""
    randomisation = document.values["randomisation"]
    sizes = randomisation["block_sizes"] if isinstance(randomisation, dict) else []
    return list(sizes)


def _check_lengths(document: Document, restricted: RestrictedDefinition, public: TrialDefinition) -> None:
    for index, plan in enumerate(restricted.subject_lists):
        path: Path = ("subject_lists", index, "length")
        parts = 1 if isinstance(restricted.procedure, Minimisation) else len(public.strata)
        if document.is_sound(path) and plan.length * parts < public.target:
            document.report(path, "list.short", say("all strata together hold fewer entries than the target"))


def _check_lot_dates(document: Document, restricted: RestrictedDefinition, public: TrialDefinition) -> None:
    for index, plan in enumerate(restricted.kit_lists):
        path: Path = ("kit_lists", index)
        if not document.is_sound((*path, "expiry"), (*path, "released_from")):
            continue
        if plan.released_from >= plan.expiry:
            document.report((*path, "expiry"), "date.order", say("must be later than released_from"))
        elif plan.released_from > plan.expiry - timedelta(days=public.expiry.dns):
            message = say("leaves no day on which a kit of this lot may be shipped")
            document.report((*path, "expiry"), "expiry.never_shipped", message, warning=True)
