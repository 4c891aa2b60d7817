"""A trial's definition as plain frozen data. Pure: no file, clock or database.

Two parts, two files. The public part may be read by everyone who works on the trial. The restricted part (procedure,
block sizes, kit types and which arm each belongs to, list plans) reveals arms or predicts them: it is stored
sealed, and its `repr` says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

from rts.refusal import Message
from rts.states import GATES
from rts.trial.procedures import SITE, Procedure
from rts.trial.texts import Text, plain


@dataclass(frozen=True)
class Treatment:
    """An arm as the registry names it: public name and integer allocation weight.

    The restricted part refers to it by `name`, the same in every language; `label` is what people read.
    """

    name: str
    label: Text
    ratio: int


@dataclass(frozen=True)
class Level:
    """One level of a stratification factor: values v with `at_least` <= v < `below` (None: unbounded)."""

    code: str
    label: Text
    at_least: float | None
    below: float | None


@dataclass(frozen=True)
class Factor:
    """A stratification factor: the value that is entered, its bounds, unit, decimals and the levels cut from it."""

    code: str
    label: Text
    unit: Text
    minimum: float
    maximum: float
    decimals: int
    levels: tuple[Level, ...]

    def level_of(self, value: float) -> Level:
        """The level `value` falls into. Raises ValueError outside the factor's bounds."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{self.code} must be between {self.minimum:g} and {self.maximum:g}")
        for level in self.levels:
            if (level.at_least is None or value >= level.at_least) and (level.below is None or value < level.below):
                return level
        raise ValueError(f"no level of {self.code} holds {value:g}")

    def fits_decimals(self, value: float) -> bool:
        """True when the finite `value` is written with no more decimals than the factor has."""
        exponent = Decimal(str(value)).normalize().as_tuple().exponent
        return isinstance(exponent, int) and exponent >= -self.decimals


@dataclass(frozen=True)
class Criterion:
    """One line of the eligibility checklist.

    `kind` is `inclusion` (must be answered yes) or `exclusion` (must be answered no). `rule` is `confirm` (a person
    answers) or `age` (the system checks `minimum`..`maximum` whole years from year of birth and the date of consent;
    the person confirms only in the edge years where a birthday decides) or `factor` (the entered value of the
    stratification factor `factor` must be within `minimum`..`maximum`).
    """

    code: str
    kind: str
    text: Text
    rule: str = "confirm"
    factor: str = ""
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Visit:
    """A scheduled visit: day after randomisation, window in days, and kits to dispense at each dose level.

    `window_before` and `window_after` are days (>= 0). `kits` maps dose level to {kit group: quantity}; SIRIUS has the
    one dose level `standard` and the one group `study-drug`. An empty mapping: nothing is dispensed.
    """

    code: str
    label: Text
    day: int
    window_before: int
    window_after: int
    kits: dict[str, dict[str, int]]

    def quantity(self, dose_level: str, group: str) -> int:
        """Kits of `group` to dispense at this visit on `dose_level`."""
        return self.kits.get(dose_level, {}).get(group, 0)


@dataclass(frozen=True)
class ExpiryRules:
    """The three expiry clocks, in days before the last usable day (rts.supply.expiry).

    DND: do not dispense, `dnd_by_visit` overrides it for a visit code; DNC: do not count; DNS: do not ship.
    """

    dnd: int
    dnc: int
    dns: int
    dnd_by_visit: dict[str, int]

    def dnd_at(self, visit: str) -> int:
        """DND in days for a visit code."""
        return self.dnd_by_visit.get(visit, self.dnd)


@dataclass(frozen=True)
class StorageRules:
    """At what temperatures (degrees Celsius, both ends allowed) kits are kept, and for how many minutes in all a kit
    may be outside them before quality assurance must decide on it (rts.supply.temperature).
    """

    minimum: float
    maximum: float
    allowed_minutes_out_of_range: int


@dataclass(frozen=True)
class Calendar:
    """Working days of a depot or site. Weekdays are ISO (1 = Monday).

    `closed` are dates with no work though the weekday says work; `makeup` are weekend dates worked instead (they are
    working and receiving days, never shipping days unless the weekday ships); `known_until` is the last day the dated
    lists cover.
    """

    working_weekdays: tuple[int, ...]
    closed: tuple[date, ...]
    makeup: tuple[date, ...]
    known_until: date


@dataclass(frozen=True)
class Depot:
    """A depot: zone, calendar, cut-off in its local time, processing in working days, ship weekdays, parent."""

    code: str
    name: Text
    city: Text
    country: str
    time_zone: str
    cut_off: time
    processing_days: int
    ship_weekdays: tuple[int, ...]
    calendar: Calendar
    parent: str = ""

    @property
    def title(self) -> Text:
        """What people call it: code and name."""
        return self.name.behind_code(self.code)


@dataclass(frozen=True)
class Site:
    """A site: zone, depot that supplies it, carrier days from it, supply class, receiving calendar, opening, rate.

    `planned_rate` is the planned number of randomised subjects per day (recruitment plan and forecasts).
    """

    code: str
    name: Text
    city: Text
    country: str
    time_zone: str
    depot: str
    transit_days: int
    supply_class: str
    planned_opening: date
    planned_rate: float
    calendar: Calendar

    @property
    def title(self) -> Text:
        """What people call it: code and name."""
        return self.name.behind_code(self.code)


@dataclass(frozen=True)
class SupplyClass:
    """Levels of a class of sites, in kits of each type: first shipment, min/max policy, predictive buffers."""

    code: str
    initial: int
    minimum: int
    maximum: int
    buffer_minimum: int
    buffer_maximum: int


@dataclass(frozen=True)
class SupplyRules:
    """Resupply parameters (rts.supply.resupply). Windows in days.

    `policy` is `predictive` or `minmax`; `fires` is `le` (usable <= trigger) or `lt`; `scope` is `all`, `group` or
    `fired`; `blind_rule` is `none`, `at_least_one_each`, `pad`, `ratio` or `equal`. `new_subjects` switches on the
    Poisson-gamma prediction (`prior_shape`, `prior_rate` in days, `epsilon`). `loss_allowance` replaces the buffers
    after the last subject is randomised. `minimum_consignment` and `maximum_consignment` count kits of all types;
    `night_run` is the depot's local time of the run.
    """

    policy: str
    fires: str
    scope: str
    blind_rule: str
    short_window: int
    long_window: int
    new_subjects: bool
    prior_shape: float
    prior_rate: float
    epsilon: float
    loss_allowance: int
    pack: int
    minimum_consignment: int
    maximum_consignment: int
    overdue_after_days: int
    night_run: time
    classes: tuple[SupplyClass, ...]

    def class_of(self, code: str) -> SupplyClass:
        """The class named `code`. Raises KeyError when there is none."""
        for supply_class in self.classes:
            if supply_class.code == code:
                return supply_class
        raise KeyError(code)


@dataclass(frozen=True)
class Caps:
    """Most subjects to randomise: in the trial, at any one site, in any one stratum. None: no cap.

    `by_site` and `by_stratum` override `site` and `stratum` for the codes they name.
    """

    trial: int
    site: int | None
    stratum: int | None
    by_site: dict[str, int]
    by_stratum: dict[str, int]


@dataclass(frozen=True)
class Registry:
    """Registry facts that a page or a document shows."""

    number: str
    secondary: tuple[str, ...]
    title: Text
    sponsor: Text
    collaborators: tuple[Text, ...]
    phase: Text
    design: Text
    registered_on: date
    first_enrolment_on: date | None
    countries: tuple[str, ...]
    primary_outcome: Text


@dataclass(frozen=True)
class Assumption:
    """Keys of the definition whose values the registry record does not state, and why they have the value they have."""

    keys: tuple[str, ...]
    reason: Text


@dataclass(frozen=True)
class TrialDefinition:
    """The public part.

    `code` is the trial's permanent code; `assumptions` lists what the registry record does not state. `gates` are the
    dated gates a site must pass before kits may be sent to it and subjects randomised (SHIP-02, UNBL-07). Gates, dose
    levels and kit groups are codes; the names that people read instead are given by code, for some or all of them.

    `units_a_kit` is how many units (tablets, vials: `unit`) a kit of each group holds, `units_a_day` how many of it a
    subject on each dose level takes a day; groups that are not named are not counted. `storage` is None where the
    temperatures of kits are not judged.
    """

    code: str
    short_title: Text
    protocol_version: str
    registry: Registry
    target: int
    masking: tuple[Text, ...]
    treatments: tuple[Treatment, ...]
    factors: tuple[Factor, ...]
    criteria: tuple[Criterion, ...]
    dose_levels: tuple[str, ...]
    dose_level_names: dict[str, Text]
    kit_groups: tuple[str, ...]
    kit_group_names: dict[str, Text]
    visits: tuple[Visit, ...]
    unit: Text
    units_a_kit: dict[str, int]
    units_a_day: dict[str, dict[str, int]]
    end_of_treatment_day: int
    expiry: ExpiryRules
    storage: StorageRules | None
    depots: tuple[Depot, ...]
    sites: tuple[Site, ...]
    gates: tuple[str, ...]
    gate_names: dict[str, Text]
    supply: SupplyRules
    caps: Caps
    languages: tuple[str, ...]
    low_entries_warning: int
    assumptions: tuple[Assumption, ...]

    @property
    def strata(self) -> tuple[str, ...]:
        """Stratum codes in definition order: every combination of levels, the last factor varying fastest."""
        codes = [""]
        for factor in self.factors:
            codes = [f"{code}.{level.code}" if code else level.code for code in codes for level in factor.levels]
        return tuple(codes) if self.factors else ("all",)

    def stratum_of(self, values: dict[str, float]) -> str:
        """The stratum code for entered factor values. Raises KeyError or ValueError for a missing or impossible one."""
        return ".".join(factor.level_of(values[factor.code]).code for factor in self.factors) or "all"

    def levels_of(self, factors: Sequence[str], values: Mapping[str, float], site: str) -> dict[str, str]:
        """The level of each of `factors` for a subject of `site` with these entered values; `SITE` is the site itself.

        A factor whose value was not asked for at the time has the empty level, at which nobody else is. Raises KeyError
        for an unknown factor, ValueError for an impossible value.
        """
        known = {factor.code: factor for factor in self.factors}
        levels = {}
        for code in factors:
            if code == SITE:
                levels[code] = site
            else:
                factor = known[code]
                levels[code] = factor.level_of(values[code]).code if code in values else ""
        return levels

    def gate_name(self, code: str) -> Text | Message:
        """What people read for a gate: its name, else that of a gate most trials have, else its code."""
        return self.gate_names.get(code) or GATES.get(code) or plain(code)

    def dose_level_name(self, code: str) -> Text:
        """What people read for a dose level: its name, else its code."""
        return self.dose_level_names.get(code) or plain(code)

    def kit_group_name(self, code: str) -> Text:
        """What people read for a kit group: its name, else its code."""
        return self.kit_group_names.get(code) or plain(code)

    def treatment_label(self, name: str) -> Text:
        """What people read for the treatment `name`. Raises KeyError when there is none."""
        for treatment in self.treatments:
            if treatment.name == name:
                return treatment.label
        raise KeyError(name)

    def visit(self, code: str) -> Visit:
        """The visit named `code`. Raises KeyError when there is none."""
        for visit in self.visits:
            if visit.code == code:
                return visit
        raise KeyError(code)

    def site(self, code: str) -> Site:
        """The site named `code`. Raises KeyError when there is none."""
        for site in self.sites:
            if site.code == code:
                return site
        raise KeyError(code)

    def depot(self, code: str) -> Depot:
        """The depot named `code`. Raises KeyError when there is none."""
        for depot in self.depots:
            if depot.code == code:
                return depot
        raise KeyError(code)


@dataclass(frozen=True, repr=False)
class Arm:
    """An arm as lists hold it: opaque code, and the public treatment name it stands for."""

    code: str
    treatment: str


@dataclass(frozen=True, repr=False)
class KitType:
    """A kit type: opaque code, arm code, kit group (all types of a group look alike)."""

    code: str
    arm: str
    group: str


CHECKED, UNCHECKED = "with_check_digits", "without_check_digits"
"""What a plan says of the numbers of an imported list."""


@dataclass(frozen=True, repr=False)
class SubjectListPlan:
    """A subject list to be generated: id, number prefix, entries per stratum (of a tape: of the whole trial).

    `extends` is the id of the planned list that it goes on from once that one's entries are used up; empty for a list
    of its own. `imported` is empty for a list to be generated here; else the list is made elsewhere, its strata at
    least so long, and the word says whether its numbers end in check digits.
    """

    list_id: str
    prefix: str
    length: int
    extends: str = ""
    imported: str = ""


@dataclass(frozen=True, repr=False)
class KitListPlan:
    """A kit list to be generated: one per blinded lot, every type of the group, one expiry (last usable day)."""

    list_id: str
    prefix: str
    blinded_lot: str
    expiry: date
    released_from: date
    manufacturing_lots: dict[str, str]
    quantities: dict[str, int]


@dataclass(frozen=True, repr=False)
class RestrictedDefinition:
    """The restricted part. `trial` must equal the public code.

    `manufacturing_lots` of a kit list plan maps kit type code to the manufacturing lot it comes from.
    """

    trial: str
    procedure: Procedure
    arms: tuple[Arm, ...]
    kit_types: tuple[KitType, ...]
    subject_lists: tuple[SubjectListPlan, ...]
    kit_lists: tuple[KitListPlan, ...]

    def __repr__(self) -> str:
        return "<sealed>"

    def arms_in_ratio(self, public: TrialDefinition) -> list[tuple[str, int]]:
        """The arm codes with their weights in the allocation ratio, in definition order."""
        ratios = {treatment.name: treatment.ratio for treatment in public.treatments}
        return [(arm.code, ratios[arm.treatment]) for arm in self.arms]

    def treatment_of(self, arm: str) -> str:
        """The public treatment name of an arm code. Raises KeyError when there is none."""
        for candidate in self.arms:
            if candidate.code == arm:
                return candidate.treatment
        raise KeyError("no such arm")
