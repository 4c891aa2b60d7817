"""Versions of the definition in force site by site, each from its own date; and what then goes by which version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from rts.access.actor import service
from rts.conduct.lists import lists_serving
from rts.conduct.perform import Done
from rts.conduct.putting_in_force import ChangePlan, PutInForce, change_plan, put_in_force
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.resupplying import run_night
from rts.conduct.retiring_lists import CloseList, close_list
from rts.conduct.site_gates import OpenSite, PassGate, open_site_for_subjects, pass_gate
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.reports.supply import site_stocks
from rts.reports.trial_overview import in_force_at, site_page
from rts.store import definitions
from rts.store.tables import DefinitionInForce, Depot, Kit, ListFile, Shipment, Site, Subject
from rts.trial.shipped import shipped_definition
from tests.world import GOOD_VALUES, World

TITLE = ('protocol_version = "1.0"', 'protocol_version = "1.1"')
SECOND_DEPOT = (
    "# What a site does not state itself",
    """[[depots]]
code = "DEP-BJ"
name = "Beijing depot"
city = "Beijing"
country = "CN"
time_zone = "Asia/Shanghai"
calendar = "china"
cut_off = 14:00:00
processing_days = 1
ship_weekdays = [1, 2, 3, 4]

# What a site does not state itself""",
)
CN02_FROM_BEIJING = ('{ code = "CN02", ', '{ code = "CN02", depot = "DEP-BJ", ')


def put(world: World, **changes: object) -> PutInForce:
    return replace(PutInForce("SIRIUS", 2, ("CN02",), world.today, "EC 2026-2"), **changes)  # type: ignore[arg-type]


def plan(world: World, **changes: object) -> ChangePlan:
    asked = ChangePlan("SIRIUS", 2, ("CN02",), world.today, "EC 2026-3", "the letter bears another date")
    return replace(asked, **changes)  # type: ignore[arg-type]


def versions(world: World) -> dict[str, int]:
    """The version in force now at each site that has one."""
    with world.store.transaction() as tx:
        sites = tx.session.scalars(select(Site).order_by(Site.code)).all()
        return {site.code: version.version for site, version in definitions.versions_in_force(tx, sites).items()}


def recorded(world: World, site: str) -> list[tuple[int, date, str, str]]:
    """Everything ever put in force at a site: version, date, how it stands, document."""
    with world.store.transaction() as tx:
        found = in_force_at(tx, [tx.site(tx.trial("SIRIUS"), site)])
        return [(one.version, one.from_date, one.state, one.document) for (rows,) in [found.values()] for one in rows]


@pytest.fixture
def amended(world: World) -> World:
    """SIRIUS with a version 2 loaded and in force nowhere."""
    assert world.load(TITLE) == 2
    return world


@pytest.mark.requirement("CHG-02")
def test_a_loaded_version_is_in_force_nowhere_before_it_is_put_there(amended: World) -> None:
    assert set(versions(amended).values()) == {1}

    done = amended.do(put_in_force, "manager", put(amended))

    assert done == Done("put_in_force", {"trial": "SIRIUS", "version": "2", "sites": "CN02"})
    assert {site: version for site, version in versions(amended).items() if version != 1} == {"CN02": 2}
    amended.randomise("CN02")
    assert amended.last_event("subject.randomised")[0].definition == 2
    amended.randomise("CN03")
    assert amended.last_event("subject.randomised")[0].definition == 1


@pytest.mark.requirement("CHG-02")
@pytest.mark.requirement("AUD-01")
def test_what_allows_a_version_at_a_site_stays_with_it(amended: World) -> None:
    tomorrow = amended.today + timedelta(days=1)

    amended.do(put_in_force, "manager", put(amended, sites=("CN03", "CN02"), from_date=tomorrow, document=" EC 7 "))

    assert recorded(amended, "CN02") == [
        (1, date(2026, 1, 1), "in_force", ""),
        (2, tomorrow, "planned", "EC 7"),
    ]
    event, detail = amended.last_event("definition.put_in_force")
    assert (event.actor, event.role, event.object_type, event.object_id, event.definition) == (
        "manager", "trial_manager", "site", "CN03", 1,
    )  # fmt: skip
    assert detail == {
        "before": {"version": 1, "in_force_from": "2026-01-01", "document": ""},
        "after": {"version": 2, "in_force_from": "2026-01-09", "document": "EC 7"},
    }
    assert amended.events("definition.put_in_force") == 20 + 2  # version 1 at its sites, and these


@pytest.mark.requirement("TIME-01")
def test_a_version_begins_at_midnight_in_the_zone_that_it_gives_the_site(world: World) -> None:
    beijing = '{ en = "Beijing",    zh_Hans = "北京" }, transit_days = 1, supply_class = "medium"'
    urumqi = (beijing, beijing.replace("transit", 'time_zone = "Asia/Urumqi", transit'))
    world.amend(urumqi, at=("CN02",), on=date(2026, 1, 9))

    world.clock.set(datetime(2026, 1, 8, 17, 59, tzinfo=UTC))  # 1:59 on the 9th in Shanghai, 23:59 on the 8th in Urumqi
    before = versions(world)["CN02"]
    world.clock.advance(timedelta(minutes=1))

    assert (before, versions(world)["CN02"]) == (1, 2)


@pytest.mark.requirement("CHG-02")
@pytest.mark.parametrize(
    ("changes", "code", "rules"),
    [
        ({"document": " "}, "invalid", ("definition.document",)),
        ({"sites": ()}, "invalid", ("sites.missing",)),
        ({"sites": ("CN02", "CN99")}, "not_found", ("site.unknown",)),
        ({"version": 3}, "not_found", ("definition.unknown",)),
        ({"from_date": date(2026, 1, 7)}, "rule", ("definition.past",)),
        ({"version": 1}, "rule", ("definition.older",)),
        ({"version": 1, "from_date": date(2026, 1, 7)}, "rule", ("definition.past", "definition.older")),
    ],
)
def test_what_speaks_against_it_is_named_and_nothing_is_recorded(
    amended: World, changes: dict[str, object], code: str, rules: tuple[str, ...]
) -> None:
    with amended.refuses(code, *rules):
        amended.do(put_in_force, "manager", put(amended, **changes))


def test_one_site_that_refuses_leaves_all_as_they_were(amended: World) -> None:
    amended.put_in_force(2, "CN02")

    with amended.refuses("rule", "definition.older") as caught:
        amended.do(put_in_force, "manager", put(amended, sites=("CN02", "CN03"), from_date=date(2026, 2, 1)))

    assert str(caught.value) == (
        "A version follows only an earlier one. Version 2 or a later one is in force or planned already at: CN02."
    )


@pytest.mark.requirement("CHG-02")
@pytest.mark.parametrize("later", [0, 1])
def test_two_versions_never_share_a_date_or_cross(amended: World, later: int) -> None:
    planned = amended.today + timedelta(days=5)
    amended.put_in_force(2, "CN02", on=planned)
    assert amended.load(('protocol_version = "1.0"', 'protocol_version = "1.2"')) == 3

    with amended.refuses("conflict", "definition.date") as caught:
        amended.do(put_in_force, "manager", put(amended, version=3, from_date=planned - timedelta(days=later)))

    assert str(caught.value) == "A version is in force from that date or later already at: CN02."
    amended.put_in_force(3, "CN02", on=planned + timedelta(days=1))
    assert [row[:3] for row in recorded(amended, "CN02")] == [
        (1, date(2026, 1, 1), "in_force"),
        (2, date(2026, 1, 13), "planned"),
        (3, date(2026, 1, 14), "planned"),
    ]


@pytest.mark.requirement("ACC-02")
@pytest.mark.parametrize("who", ["statistician.one", "sponsor", "supply", "investigator.cn02"])
def test_only_who_manages_sites_puts_a_version_in_force(amended: World, who: str) -> None:
    with amended.refuses("forbidden", "access.permission"):
        amended.do(put_in_force, who, put(amended))
    with amended.refuses("forbidden", "access.permission"):
        amended.do(change_plan, who, plan(amended))


def test_who_loads_without_managing_sites_puts_nothing_in_force(world: World) -> None:
    command = LoadDefinition(*shipped_definition("sirius"), world.today, "EC 2026-2")

    with world.refuses("forbidden", "access.permission"):
        world.do(load_definition, "statistician.one", command)
    done = world.do(load_definition, "statistician.one", replace(command, in_force_from=None))

    assert (done.ids["version"], set(versions(world).values())) == ("2", {1})


# --- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CHG-02")
@pytest.mark.requirement("AUD-02")
def test_a_plan_is_corrected_beside_the_old_one(amended: World) -> None:
    amended.put_in_force(2, "CN02", "CN03", on=date(2026, 2, 1))

    amended.do(change_plan, "manager", plan(amended, from_date=date(2026, 1, 20)))

    assert recorded(amended, "CN02") == [
        (1, date(2026, 1, 1), "in_force", ""),
        (2, date(2026, 1, 20), "planned", "EC 2026-3"),
        (2, date(2026, 2, 1), "withdrawn", "EC 2026-2"),
    ]
    assert recorded(amended, "CN03")[-1] == (2, date(2026, 2, 1), "planned", "EC 2026-2")
    with amended.store.transaction() as tx:
        (old,) = tx.session.scalars(select(DefinitionInForce).where(DefinitionInForce.ended_at.is_not(None)))
        assert (old.ended_by, old.end_reason) == ("manager", "the letter bears another date")
    event, detail = amended.last_event("definition.plan_changed")
    assert (event.object_id, event.definition) == ("CN02", 1)
    assert detail == {
        "reason": "the letter bears another date",
        "before": {"version": 2, "in_force_from": "2026-02-01", "document": "EC 2026-2"},
        "after": {"version": 2, "in_force_from": "2026-01-20", "document": "EC 2026-3"},
    }


def test_a_plan_is_withdrawn_and_made_again(amended: World) -> None:
    amended.put_in_force(2, "CN02", on=date(2026, 2, 1))

    amended.do(change_plan, "manager", plan(amended, from_date=None, document=""))

    assert [row[:3] for row in recorded(amended, "CN02")] == [
        (1, date(2026, 1, 1), "in_force"),
        (2, date(2026, 2, 1), "withdrawn"),
    ]
    assert amended.last_event("definition.plan_withdrawn")[1] == {
        "reason": "the letter bears another date",
        "before": {"version": 2, "in_force_from": "2026-02-01", "document": "EC 2026-2"},
    }
    amended.put_in_force(2, "CN02", on=date(2026, 2, 1))
    amended.clock.set(datetime(2026, 2, 1, 4, tzinfo=UTC))
    assert versions(amended)["CN02"] == 2


@pytest.mark.requirement("CHG-02")
@pytest.mark.parametrize("new_date", [None, date(2026, 2, 1)])
def test_what_has_come_into_force_stays(amended: World, new_date: date | None) -> None:
    amended.put_in_force(2, "CN02")

    with amended.refuses("conflict", "definition.not_planned") as caught:
        amended.do(change_plan, "manager", plan(amended, sites=("CN02", "CN03"), from_date=new_date))

    assert str(caught.value) == "Version 2 is not planned at: CN02, CN03. What has come into force stays."


@pytest.mark.parametrize(
    ("changes", "code", "rules"),
    [
        ({"reason": " "}, "invalid", ("reason.missing",)),
        ({"document": ""}, "invalid", ("definition.document",)),
        ({"from_date": date(2026, 1, 7)}, "rule", ("definition.past",)),
        ({"from_date": date(2026, 2, 10)}, "rule", ("definition.order",)),
        ({"from_date": date(2026, 2, 11)}, "rule", ("definition.order",)),
        ({"version": 3, "from_date": date(2026, 2, 1)}, "rule", ("definition.order",)),
        ({"version": 4}, "not_found", ("definition.unknown",)),
    ],
)
def test_a_plan_stays_between_its_neighbours(
    amended: World, changes: dict[str, object], code: str, rules: tuple[str, ...]
) -> None:
    amended.load(('protocol_version = "1.0"', 'protocol_version = "1.2"'))
    amended.put_in_force(2, "CN02", on=date(2026, 2, 1))
    amended.put_in_force(3, "CN02", on=date(2026, 2, 10))

    with amended.refuses(code, *rules):
        amended.do(change_plan, "manager", plan(amended, **changes))


# --- loading -------------------------------------------------------------------------------------------------------


def test_a_later_version_is_put_in_force_everywhere_when_loaded_with_a_date(world: World) -> None:
    command = LoadDefinition(*shipped_definition("sirius"), world.today, "CR 12")

    with world.refuses("invalid", "definition.document"):
        world.do(load_definition, service("amendment"), replace(command, document=" "))
    world.do(load_definition, service("amendment"), command)

    assert set(versions(world).values()) == {2}
    assert recorded(world, "CN20")[-1] == (2, world.today, "in_force", "CR 12")


@pytest.mark.requirement("CHG-02")
def test_a_new_site_works_once_a_version_is_in_force_there(world: World) -> None:
    new_site = '  { code = "CN21", name = "Lhasa site 1", city = "Lhasa", transit_days = 4, supply_class = "low", '
    new_site += 'planned_opening = 2026-03-09, planned_rate = 0.01 },\n]\n\n[[assumptions]]\nkeys = ["calendars"'
    version = world.load((']\n\n[[assumptions]]\nkeys = ["calendars"', new_site))
    gate = PassGate("SIRIUS", "CN21", "ethics", world.today, "EC 21")

    with world.refuses("rule", "definition.not_in_force") as caught:
        world.do(pass_gate, "manager", gate)
    assert str(caught.value) == "No version of the protocol definition is in force at site CN21 yet."
    with world.refuses("rule", "definition.site_unnamed"):
        world.do(put_in_force, "manager", put(world, version=1, sites=("CN21",)))
    with world.refuses("rule", "definition.past"):
        world.do(put_in_force, "manager", put(world, sites=("CN21",), from_date=date(2026, 1, 1)))
    world.put_in_force(version, "CN21")

    for name in world.stage.definition.gates:
        world.do(pass_gate, "manager", replace(gate, gate=name))
    world.do(open_site_for_subjects, "manager", OpenSite("SIRIUS", "CN21"))
    assert versions(world)["CN21"] == 2
    assert versions(world)["CN02"] == 1


def test_a_version_leaves_out_no_dose_level_that_subjects_are_on(world: World) -> None:
    public, restricted = shipped_definition("sirius")
    public = public.replace('levels = ["standard"]', 'levels = ["full"]').replace("{ standard = {", "{ full = {")
    public = public.replace("\nstandard = {", "\nfull = {")

    with world.refuses("rule", "definition.dose_level_gone"):
        world.do(load_definition, service("amendment"), LoadDefinition(public, restricted))


# --- what goes by the version in force at the site -----------------------------------------------------------------


@pytest.mark.requirement("RAND-09")
def test_a_cap_is_that_of_the_site_where_the_subject_is_randomised(world: World) -> None:
    world.amend(("[caps]\ntrial = 146", "[caps]\ntrial = 1"), ("target = 146 ", "target = 1 "), at=("CN02",))
    world.randomise("CN03")
    code = world.screen("CN02")

    with world.refuses("rule", "cap.trial"):
        command = RandomiseSubject("SIRIUS", code, world.answers(), GOOD_VALUES)
        world.do(randomise_subject, "investigator.cn02", command, sign=True)

    world.randomise("CN03")


@pytest.mark.requirement("SHIP-02")
def test_a_gate_is_asked_of_the_sites_whose_version_names_it(world: World) -> None:
    world.amend(('"unblinding-access"]', '"unblinding-access", "import-licence"]'), at=("CN04",))
    for site in ("CN04", "CN05"):
        for gate in world.stage.definition.gates:
            world.do(pass_gate, "manager", PassGate("SIRIUS", site, gate, world.today, "TMF 1"))

    with world.refuses("rule", "gate.missing"):
        world.do(open_site_for_subjects, "manager", OpenSite("SIRIUS", "CN04"))
    with world.refuses("invalid", "gate.unknown"):
        world.do(pass_gate, "manager", PassGate("SIRIUS", "CN05", "import-licence", world.today, "TMF 1"))
    world.do(open_site_for_subjects, "manager", OpenSite("SIRIUS", "CN05"))

    with world.store.transaction() as tx:
        pages = [site_page(tx, tx.site(tx.trial("SIRIUS"), site)) for site in ("CN04", "CN05")]
    assert [(page.row.gates_passed, page.row.gates, page.missing) for page in pages] == [
        (4, 5, ("import-licence",)),
        (4, 4, ()),
    ]


@pytest.mark.requirement("SHIP-02")
def test_a_site_is_supplied_by_another_depot_from_the_date_and_not_before(world: World) -> None:
    tomorrow = world.today + timedelta(days=1)
    world.amend(SECOND_DEPOT, CN02_FROM_BEIJING, at=("CN02",), on=tomorrow)
    with world.store.transaction(write=True) as tx:
        beijing = tx.session.scalars(select(Depot).where(Depot.code == "DEP-BJ")).one()
        stock = select(Kit.id).where(Kit.state == "in_depot").order_by(Kit.number)
        half = tx.session.scalars(stock).all()[::2]
        tx.session.execute(update(Kit).where(Kit.id.in_(half)).values(depot_id=beijing.id))
    asked = RequestShipment("SIRIUS", "CN02", 2, "a fridge failed")

    first = world.do(request_shipment, "supply", asked).ids["shipment"]
    world.clock.advance(timedelta(days=1))
    second = world.do(request_shipment, "supply", asked).ids["shipment"]
    third = world.do(request_shipment, "supply", replace(asked, site="CN03")).ids["shipment"]

    with world.store.transaction() as tx:
        rows = tx.session.execute(select(Shipment.number, Depot.code).join(Depot).where(Shipment.state == "requested"))
        assert dict(rows.all()) == {first: "DEP-SH", second: "DEP-BJ", third: "DEP-SH"}


@pytest.mark.requirement("SHIP-06")
def test_each_depots_night_looks_at_the_sites_it_supplies_now(world: World) -> None:
    world.amend(SECOND_DEPOT, CN02_FROM_BEIJING, at=("CN02",), on=world.today + timedelta(days=1))

    def looked_at(depot: str) -> int:
        return run_night(world.store, service("night"), "SIRIUS", world.today, depot=depot).looked_at

    assert (looked_at("DEP-BJ"), looked_at("DEP-SH")) == (0, 2)
    world.clock.advance(timedelta(days=1))
    assert (looked_at("DEP-BJ"), looked_at("DEP-SH")) == (1, 1)


@pytest.mark.requirement("SHIP-06")
def test_stock_is_judged_by_the_expiry_clock_in_force_at_its_site(world: World) -> None:
    # The kits on the shelves last until 2027-01-05, which is 362 days from now.
    world.amend(("[expiry]\ndnd = 31\ndnc = 38\ndns = 60", "[expiry]\ndnd = 370\ndnc = 380\ndns = 400"), at=("CN02",))

    with world.store.transaction() as tx:
        stocks = site_stocks(tx, tx.trial("SIRIUS"))

    assert {stock.code: stock.usable for stock in stocks} == {"CN02": 0, "CN03": 6}


SECOND_LIST = """
[[subject_lists]]
id = "SIRIUS-R2"
prefix = "S"
length = 150
"""


def change_the_ratio(world: World) -> None:
    """Load a version 2 with two subjects on sirolimus to one on placebo, and let its list take the place of the
    first.
    """
    label = 'name = "sirolimus"\nlabel = { en = "sirolimus", zh_Hans = "西罗莫司" }'
    ratio = (f"{label}\nratio = 1", f"{label}\nratio = 2")
    world.load(ratio, ("block_sizes = [4, 6]", "block_sizes = [3, 6]"), restricted=SECOND_LIST)
    world.do(close_list, "manager", CloseList("SIRIUS", "SIRIUS-R1", "ratio changed"), sign=True)
    world.stage.make_list("SIRIUS-R2")


@pytest.mark.requirement("CHG-02")
@pytest.mark.requirement("CHG-05")
def test_a_list_of_another_ratio_serves_no_site_before_the_version_that_made_it_does(world: World) -> None:
    change_the_ratio(world)
    code = world.screen("CN02")
    command = RandomiseSubject("SIRIUS", code, world.answers(), GOOD_VALUES)

    with world.refuses("rule", "list.no_entry"):
        world.do(randomise_subject, "investigator.cn02", command, sign=True)
    world.put_in_force(2, "CN02")

    world.do(randomise_subject, "investigator.cn02", command, sign=True)
    with world.store.transaction() as tx:
        number = tx.session.scalars(select(Subject.randomisation_number)).one()
    assert (number or "").startswith("S")


@pytest.mark.requirement("CHG-02")
def test_a_list_that_goes_on_serves_every_site_at_once(world: World) -> None:
    world.load(TITLE, restricted=SECOND_LIST + 'extends = "SIRIUS-R1"\n')
    world.stage.make_list("SIRIUS-R2")

    with world.store.transaction() as tx:
        trial = tx.trial("SIRIUS")
        serving = lists_serving(tx, trial, definitions.version_numbered(tx, trial, 1))
        names = [tx.session.get_one(ListFile, list_id).list_id for list_id in serving]
    assert names == ["SIRIUS-R1", "SIRIUS-R2"]


def test_a_code_break_goes_by_the_version_of_the_randomisation(world: World) -> None:
    code = world.randomise("CN02")
    world.amend(TITLE, at=("CN02",))

    world.do(unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", code, "fall", False), sign=True)

    assert world.last_event("subject.unblinded")[0].definition == 1
