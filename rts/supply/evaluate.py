"""Resupply cases as plain data in, decisions as plain data out: what a second programmer checks against. Pure.

A case has integer days and one blinding group. `kit_types` maps a label to its stock (`on_hand`, `in_transit`,
`requested`: each kit's expiry day; `visits`: [day, quantity] pairs; `min`, `max`, `DNC`, `new_short`, `new_long`,
`pack`). Scheduled visits count when today < day <= today + window, and needs are counted without interval cover: a case
holds no do-not-dispense clock. Absent means: `scope` all; `trigger` le; no `equalise`: rule `none`, else the ratio;
`min_total`, `max_total` none; lists empty; `pack` 1; every other number 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from rts.refusal import refuse, say
from rts.supply.resupply import Buffers, Decision, Policy, TypeStock, decide_resupply
from rts.supply.windows import Demand

_CASE_KEYS = frozenset(
    {
        "name",
        "today",
        "trigger",
        "scope",
        "equalise",
        "min_total",
        "max_total",
        "short_window",
        "long_window",
        "kit_types",
        "expected",
    }
)
_TYPE_KEYS = frozenset(
    {"on_hand", "in_transit", "requested", "visits", "min", "max", "DNC", "new_short", "new_long", "pack"}
)
_MOST_DAYS = 1_000_000


def evaluate(cases: object) -> list[dict[str, object]]:
    """Decide every case: its `name`, `per_type` (usable, trigger_level, resupply_level, fires, need) and `order`.

    Raises Refusal (`invalid`) that names the field: `case.unknown` for a key that means nothing, `case.missing`,
    `case.value`.
    """
    if not isinstance(cases, list):
        raise refuse("invalid", "case.value", say("the cases must be a list"), "cases")
    return [_evaluate(_mapping(case, f"cases[{index}]"), f"cases[{index}]") for index, case in enumerate(cases)]


def _evaluate(case: Mapping[str, object], at: str) -> dict[str, object]:
    _refuse_unknown(case, _CASE_KEYS, at)
    today = _day(_required(case, "today", at), f"{at}.today")
    types = _mapping(_required(case, "kit_types", at), f"{at}.kit_types")
    ratio = _ratio(case, types, at)
    short = _whole(case, "short_window", at, 0)
    long = _whole(case, "long_window", at, 0)
    if short > long:
        raise _bad(f"{at}.short_window", "it must not be longer than the long window")
    policy = Policy(
        fires=_choice(case, "trigger", at, ("le", "lt")),
        scope=_choice(case, "scope", at, ("all", "fired", "group")),
        blind_rule="none" if ratio is None else "ratio",
        short_window=short,
        long_window=long,
        minimum_consignment=0 if case.get("min_total") is None else _whole(case, "min_total", at, 0),
        maximum_consignment=None if case.get("max_total") is None else _whole(case, "max_total", at, 0),
        covers_expiry=False,
    )
    stocks = [
        _stock(label, _mapping(values, f"{at}.kit_types.{label}"), 1 if ratio is None else ratio[label], today, at)
        for label, values in types.items()
    ]
    return _answer(case, decide_resupply(stocks, policy, today))


def _answer(case: Mapping[str, object], decision: Decision) -> dict[str, object]:
    answer: dict[str, object] = {"name": case["name"]} if "name" in case else {}
    answer["per_type"] = {
        line.kit_type: {
            "usable": line.usable,
            "trigger_level": line.trigger,
            "resupply_level": line.level,
            "fires": line.fired,
            "need": line.need,
        }
        for line in decision.per_type
    }
    answer["order"] = decision.order
    return answer


def _stock(label: str, values: Mapping[str, object], ratio: int, today: date, case_at: str) -> TypeStock:
    at = f"{case_at}.kit_types.{label}"
    _refuse_unknown(values, _TYPE_KEYS, at)
    minimum, maximum = _whole(values, "min", at), _whole(values, "max", at)
    if minimum > maximum:
        raise _bad(f"{at}.min", "it must not be above the maximum")
    pack = _whole(values, "pack", at, 1)
    if pack < 1:
        raise _bad(f"{at}.pack", "it must be at least 1")
    return TypeStock(
        kit_type=label,
        on_hand=_days(values, "on_hand", at),
        in_transit=_days(values, "in_transit", at),
        requested=_days(values, "requested", at),
        demands=tuple(demand for demand in _visits(values, at) if demand.due > today),
        buffers=Buffers(minimum, maximum),
        dnc=_whole(values, "DNC", at, 0),
        new_short=_whole(values, "new_short", at, 0),
        new_long=_whole(values, "new_long", at, 0),
        pack=pack,
        ratio=ratio,
    )


def _ratio(case: Mapping[str, object], types: Mapping[str, object], at: str) -> dict[str, int] | None:
    if case.get("equalise") is None:
        return None
    weights = _mapping(case["equalise"], f"{at}.equalise")
    if weights.keys() != types.keys():
        raise _bad(f"{at}.equalise", "it must name every kit type once and no other")
    ratio = {label: _whole(weights, label, f"{at}.equalise") for label in weights}
    if any(weight < 1 for weight in ratio.values()):
        raise _bad(f"{at}.equalise", "every weight must be at least 1")
    return ratio


def _visits(values: Mapping[str, object], at: str) -> list[Demand]:
    demands = []
    for index, visit in enumerate(_list(values, "visits", at)):
        where = f"{at}.visits[{index}]"
        if not isinstance(visit, Sequence) or isinstance(visit, str) or len(visit) != 2:
            raise _bad(where, "it must be a pair of day and quantity")
        demands.append(Demand(_day(visit[0], where), _number(visit[1], where)))
    return demands


def _days(values: Mapping[str, object], key: str, at: str) -> tuple[date, ...]:
    return tuple(_day(day, f"{at}.{key}[{index}]") for index, day in enumerate(_list(values, key, at)))


def _list(values: Mapping[str, object], key: str, at: str) -> list[object]:
    found = values.get(key, [])
    if not isinstance(found, list):
        raise _bad(f"{at}.{key}", "it must be a list")
    return found


def _day(value: object, at: str) -> date:
    """Day n as a date, so that the cases pass through the same code as the night run."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _MOST_DAYS:
        raise _bad(at, "a day must be a whole number between -999999 and 999999")
    return date.fromordinal(_MOST_DAYS + value)


def _number(value: object, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_DAYS:
        raise _bad(at, "it must be a whole number from 0 to 999999")
    return value


def _whole(values: Mapping[str, object], key: str, at: str, absent: int | None = None) -> int:
    if absent is not None and key not in values:
        return absent
    return _number(_required(values, key, at), f"{at}.{key}")


def _choice(case: Mapping[str, object], key: str, at: str, allowed: tuple[str, ...]) -> str:
    value = case.get(key, allowed[0])
    if not isinstance(value, str) or value not in allowed:
        raise _bad(f"{at}.{key}", "it must be one of " + ", ".join(allowed))
    return value


def _mapping(value: object, at: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _bad(at, "it must be an object")
    return value


def _required(values: Mapping[str, object], key: str, at: str) -> object:
    if key not in values:
        raise refuse("invalid", "case.missing", say("%(field)s is missing", field=f"{at}.{key}"), f"{at}.{key}")
    return values[key]


def _refuse_unknown(values: Mapping[str, object], known: frozenset[str], at: str) -> None:
    for key in values:
        if key not in known:
            raise refuse("invalid", "case.unknown", say("%(field)s is not known", field=f"{at}.{key}"), f"{at}.{key}")


def _bad(at: str, why: str) -> Exception:
    return refuse("invalid", "case.value", say("%(field)s: %(why)s", field=at, why=why), at)
