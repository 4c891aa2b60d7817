"""Reads a trial definition: TOML text in, frozen data out, or every mistake at once.

The shape (keys, types, single values) is read here; what must hold between values is in `rts.trial.rules`.
"""

from __future__ import annotations

from collections.abc import Callable

from rts.refusal import FailedRule, Refusal, say
from rts.trial import procedures, rules
from rts.trial.definition import (
    CHECKED,
    UNCHECKED,
    Arm,
    Assumption,
    Calendar,
    Caps,
    Criterion,
    Depot,
    ExpiryRules,
    Factor,
    KitListPlan,
    KitType,
    Level,
    Registry,
    RestrictedDefinition,
    Site,
    StorageRules,
    SubjectListPlan,
    SupplyClass,
    SupplyRules,
    Treatment,
    TrialDefinition,
    Visit,
)
from rts.trial.document import Document, Mistake, Table
from rts.trial.procedures import CompleteRandomisation, Procedure

__all__ = ["Mistake", "check_definition", "read_definition", "read_restricted"]

_NO_CALENDAR = Calendar((), (), (), rules.NO_DATE)


def read_definition(text: str) -> TrialDefinition:
    """The public part from its TOML text.

    Warnings do not refuse. Raises Refusal `invalid` naming every mistake with its line, key and rule.
    """
    document = Document("public", text)
    definition = _read_public(document)
    _refuse_mistakes(document.mistakes)
    return definition


def read_restricted(text: str, public: TrialDefinition) -> RestrictedDefinition:
    """The restricted part from its TOML text, judged beside the public part it belongs to.

    Warnings do not refuse. Raises Refusal `invalid` naming every mistake; none of them quotes a code, a block size or a
    quantity.
    """
    document = Document("restricted", text)
    definition = _read_restricted(document)
    rules.check_restricted(document, definition, public)
    _refuse_mistakes(document.mistakes)
    return definition


def check_definition(public_text: str, restricted_text: str | None = None) -> tuple[Mistake, ...]:
    """Every mistake and warning of one or both texts, the public part first, each part by line.

    What the restricted part must share with the public one is judged only when the public part has no error.
    """
    public_document = Document("public", public_text)
    public = _read_public(public_document)
    found = _by_line(public_document.mistakes)
    if restricted_text is not None:
        document = Document("restricted", restricted_text)
        restricted = _read_restricted(document)
        public_is_right = all(mistake.severity == "warning" for mistake in found)
        rules.check_restricted(document, restricted, public if public_is_right else None)
        found += _by_line(document.mistakes)
    return tuple(found)


def _by_line(mistakes: list[Mistake]) -> list[Mistake]:
    return sorted(mistakes, key=lambda mistake: mistake.line)


def _refuse_mistakes(mistakes: list[Mistake]) -> None:
    errors = [mistake for mistake in _by_line(mistakes) if mistake.severity == "error"]
    if errors:
        # `from None`: a parser's exception behind this one would quote the restricted text.
        raise Refusal("invalid", *(_failed_rule(mistake) for mistake in errors)) from None


def _failed_rule(mistake: Mistake) -> FailedRule:
    sentence = say(
        "line %(line)d, %(path)s: %(mistake)s",
        line=mistake.line,
        path=mistake.path or mistake.part,
        mistake=mistake.message,
    )
    return FailedRule(f"definition.{mistake.rule}", sentence, mistake.path)


def _read_public(document: Document) -> TrialDefinition:
    root = document.root
    trial, registry, dosing, lists = (root.table(key) for key in ("trial", "registry", "dosing", "lists"))
    calendars = {name: _calendar(table) for name, table in root.named_tables("calendars").items()}
    definition = TrialDefinition(
        code=trial.code(names_a_file=True),
        short_title=trial.words("short_title"),
        protocol_version=trial.text("protocol_version"),
        registry=_registry(registry),
        target=trial.whole("target", at_least=1),
        masking=trial.list_of_words("masking"),
        treatments=tuple(_treatment(table) for table in root.tables("treatments")),
        factors=tuple(_factor(table) for table in root.tables("factors", optional=True)),
        criteria=tuple(_criterion(table, kind) for kind in ("inclusion", "exclusion") for table in root.tables(kind)),
        dose_levels=dosing.texts("levels"),
        dose_level_names=dosing.words_by_name("level_names"),
        kit_groups=dosing.texts("kit_groups"),
        kit_group_names=dosing.words_by_name("kit_group_names"),
        unit=dosing.words("unit", ""),
        units_a_kit=dosing.whole_by_name("units_a_kit", at_least=1),
        units_a_day=_units_a_day(dosing),
        visits=tuple(_visit(table) for table in root.tables("visits")),
        end_of_treatment_day=dosing.whole("end_of_treatment_day", at_least=1),
        expiry=_expiry(root.table("expiry")),
        storage=_storage(root.table("storage", optional=True)),
        depots=tuple(_depot(table, calendars) for table in root.tables("depots")),
        sites=_sites(root.table("sites"), calendars),
        gates=trial.texts("gates"),
        gate_names=trial.words_by_name("gate_names"),
        supply=_supply(root.table("supply")),
        caps=_caps(root.table("caps")),
        languages=trial.texts("languages"),
        low_entries_warning=lists.whole("low_entries_warning"),
        assumptions=tuple(_assumption(document, table) for table in root.tables("assumptions", optional=True)),
    )
    if document.is_readable:
        document.report_unknown_keys()
        rules.check_public(document, definition, calendars)
    else:
        _keep_only_syntax(document)
    return definition


def _read_restricted(document: Document) -> RestrictedDefinition:
    root = document.root
    randomisation = root.table("randomisation")
    definition = RestrictedDefinition(
        trial=root.text("trial"),
        procedure=_procedure(randomisation),
        arms=tuple(Arm(table.code(), table.text("treatment")) for table in root.tables("arms")),
        kit_types=tuple(
            KitType(table.code(), table.text("arm"), table.text("group")) for table in root.tables("kit_types")
        ),
        subject_lists=tuple(
            SubjectListPlan(
                table.code("id", names_a_file=True),
                table.text("prefix"),
                table.whole("length", 1),
                table.text("extends", ""),
                table.choice("imported", (CHECKED, UNCHECKED), ""),
            )
            for table in root.tables("subject_lists")
        ),
        kit_lists=tuple(_kit_list(table) for table in root.tables("kit_lists")),
    )
    if document.is_readable:
        document.report_unknown_keys()
    else:
        _keep_only_syntax(document)
    return definition


def _procedure(table: Table) -> Procedure:
    name = table.choice("procedure", tuple(procedures.KEYS))
    readers: dict[str, Callable[[str], object]] = {
        "block_sizes": lambda key: table.wholes(key, at_least=1, at_most=1000),
        "probability": table.text,
        "metric": lambda key: table.choice(key, procedures.METRICS),
        "weights": lambda key: table.whole_by_name(key, at_least=1),
    }
    keys = procedures.KEYS.get(name, ())
    written = {key: readers.get(key, table.whole)(key) for key in keys}
    if table.is_sound("procedure", *keys):
        try:
            return procedures.procedure_from({"name": name, **written})
        except Refusal as refusal:
            mistakes = refusal.failed
        for mistake in mistakes:
            table.report(mistake.field.rpartition(".")[2], mistake.rule, mistake.message)
    return CompleteRandomisation()  # a placeholder: the mistakes are reported


def _keep_only_syntax(document: Document) -> None:
    """A text that is not TOML has no keys: saying that each is missing would bury the one true mistake."""
    document.mistakes = [m for m in document.mistakes if m.rule in ("toml.syntax", "date.impossible")]


def _registry(table: Table) -> Registry:
    return Registry(
        number=table.text("number"),
        secondary=table.texts("secondary", ()),
        title=table.words("title"),
        sponsor=table.words("sponsor"),
        collaborators=table.list_of_words("collaborators", ()),
        phase=table.words("phase"),
        design=table.words("design"),
        registered_on=table.day("registered_on"),
        first_enrolment_on=table.optional_day("first_enrolment_on"),
        countries=table.texts("countries"),
        primary_outcome=table.words("primary_outcome"),
    )


def _treatment(table: Table) -> Treatment:
    name = table.text("name")
    return Treatment(name, table.words("label", name), table.whole("ratio", at_least=1, at_most=100))


def _factor(table: Table) -> Factor:
    return Factor(
        code=table.code(),
        label=table.words("label"),
        unit=table.words("unit", ""),
        minimum=table.number("minimum"),
        maximum=table.number("maximum"),
        decimals=table.whole("decimals", at_most=6),
        levels=tuple(
            Level(level.code(), level.words("label"), level.optional_number("at_least"), level.optional_number("below"))
            for level in table.tables("levels")
        ),
    )


def _criterion(table: Table, kind: str) -> Criterion:
    return Criterion(
        code=table.code(),
        kind=kind,
        text=table.words("text"),
        rule=table.choice("rule", ("confirm", "age", "factor"), "confirm"),
        factor=table.text("factor", ""),
        minimum=table.optional_number("minimum"),
        maximum=table.optional_number("maximum"),
    )


def _visit(table: Table) -> Visit:
    kits = table.table("kits", optional=True)
    return Visit(
        code=table.code(),
        label=table.words("label"),
        day=table.whole("day"),
        window_before=table.whole("window_before"),
        window_after=table.whole("window_after"),
        kits={level: kits.whole_by_name(level) for level in kits.values},
    )


def _units_a_day(dosing: Table) -> dict[str, dict[str, int]]:
    levels = dosing.table("units_a_day", optional=True)
    return {level: levels.whole_by_name(level, at_least=1) for level in levels.values}


def _expiry(table: Table) -> ExpiryRules:
    return ExpiryRules(
        dnd=table.whole("dnd"),
        dnc=table.whole("dnc"),
        dns=table.whole("dns"),
        dnd_by_visit=table.whole_by_name("dnd_by_visit"),
    )


def _storage(table: Table) -> StorageRules | None:
    if not table.values:
        return None
    return StorageRules(
        minimum=table.number("minimum"),
        maximum=table.number("maximum"),
        allowed_minutes_out_of_range=table.whole("allowed_minutes_out_of_range"),
    )


def _calendar(table: Table) -> Calendar:
    return Calendar(
        working_weekdays=table.wholes("working_weekdays", 1, 7),
        closed=table.days("closed"),
        makeup=table.days("makeup"),
        known_until=table.day("known_until"),
    )


def _named_calendar(table: Table, calendars: dict[str, Calendar], named: str) -> Calendar:
    if named and named not in calendars:
        table.report("calendar", "reference.unknown", say("no such calendar in [calendars]"))
    return calendars.get(named, _NO_CALENDAR)


def _depot(table: Table, calendars: dict[str, Calendar]) -> Depot:
    return Depot(
        code=table.code(names_a_file=True),
        name=table.words("name"),
        city=table.words("city"),
        country=table.text("country"),
        time_zone=table.text("time_zone"),
        cut_off=table.local_time("cut_off"),
        processing_days=table.whole("processing_days"),
        ship_weekdays=table.wholes("ship_weekdays", 1, 7),
        calendar=_named_calendar(table, calendars, table.text("calendar")),
        parent=table.text("parent", ""),
    )


def _sites(holder: Table, calendars: dict[str, Calendar]) -> tuple[Site, ...]:
    """Sites, each with the keys of `sites.default` that it does not state itself."""
    default = holder.table("default", optional=True)
    shared = {key: default.text(key) for key in ("country", "time_zone", "depot", "calendar") if key in default.values}
    default.asked |= {"country", "time_zone", "depot", "calendar"}
    return tuple(
        Site(
            code=table.code(names_a_file=True),
            name=table.words("name"),
            city=table.words("city"),
            country=table.text("country", shared.get("country")),
            time_zone=table.text("time_zone", shared.get("time_zone")),
            depot=table.text("depot", shared.get("depot")),
            transit_days=table.whole("transit_days"),
            supply_class=table.text("supply_class"),
            planned_opening=table.day("planned_opening"),
            planned_rate=table.number("planned_rate", at_least=0),
            calendar=_named_calendar(table, calendars, table.text("calendar", shared.get("calendar"))),
        )
        for table in holder.tables("list")
    )


def _supply(table: Table) -> SupplyRules:
    return SupplyRules(
        policy=table.choice("policy", ("predictive", "minmax")),
        fires=table.choice("fires", ("le", "lt")),
        scope=table.choice("scope", ("all", "group", "fired")),
        blind_rule=table.choice("blind_rule", ("none", "at_least_one_each", "pad", "ratio", "equal")),
        short_window=table.whole("short_window"),
        long_window=table.whole("long_window"),
        new_subjects=table.flag("new_subjects"),
        prior_shape=table.number("prior_shape", above=0),
        prior_rate=table.number("prior_rate", above=0),
        epsilon=table.number("epsilon", above=0),
        loss_allowance=table.whole("loss_allowance"),
        pack=table.whole("pack", at_least=1),
        minimum_consignment=table.whole("minimum_consignment"),
        maximum_consignment=table.whole("maximum_consignment", at_least=1),
        overdue_after_days=table.whole("overdue_after_days", at_least=1),
        night_run=table.local_time("night_run"),
        classes=tuple(
            SupplyClass(
                code=row.code(),
                initial=row.whole("initial"),
                minimum=row.whole("minimum"),
                maximum=row.whole("maximum"),
                buffer_minimum=row.whole("buffer_minimum"),
                buffer_maximum=row.whole("buffer_maximum"),
            )
            for row in table.tables("classes")
        ),
    )


def _caps(table: Table) -> Caps:
    return Caps(
        trial=table.whole("trial", at_least=1),
        site=table.optional_whole("site", at_least=1),
        stratum=table.optional_whole("stratum", at_least=1),
        by_site=table.whole_by_name("by_site"),
        by_stratum=table.whole_by_name("by_stratum"),
    )


def _assumption(document: Document, table: Table) -> Assumption:
    """An assumption, after checking that each key it names is in the file."""
    keys = table.texts("keys")
    for index, key in enumerate(keys):
        if not _holds(document.values, key.split(".")):
            message = say("names %(key)s, which this file does not hold", key=key)
            document.report((*table.at("keys"), index), "assumption.unknown_key", message)
    return Assumption(keys, table.words("reason"))


def _holds(value: object, keys: list[str]) -> bool:
    """True when `keys` lead to something; through an array, when they do in any of its elements."""
    if not keys:
        return True
    if isinstance(value, list):
        return any(_holds(element, keys) for element in value)
    return isinstance(value, dict) and keys[0] in value and _holds(value[keys[0]], keys[1:])


def _kit_list(table: Table) -> KitListPlan:
    contents = table.tables("contents")
    rows = [(row.text("kit_type"), row.whole("quantity", 1), row.text("manufacturing_lot")) for row in contents]
    for row, (kit_type, _, _) in zip(contents, rows, strict=True):
        if [earlier for earlier, _, _ in rows].count(kit_type) > 1:
            row.report("kit_type", "code.duplicate", say("the same kit type stands twice in one list"))
    return KitListPlan(
        list_id=table.code("id", names_a_file=True),
        prefix=table.text("prefix"),
        blinded_lot=table.code("blinded_lot"),
        expiry=table.day("expiry"),
        released_from=table.day("released_from"),
        manufacturing_lots={kit_type: lot for kit_type, _, lot in rows},
        quantities={kit_type: quantity for kit_type, quantity, _ in rows},
    )
