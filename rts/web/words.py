"""The words and shapes in which the codes of states, moves and outcomes are shown: (word, tone).

The words are translated when shown, one by one: a table asks for them once a row.
"""

from __future__ import annotations

from flask import Flask
from flask_babel import lazy_gettext as _

Word = tuple[str, str]


SUBJECT_STATES: dict[str, Word] = {
    "screened": (_("In screening"), "busy"),
    "screen_failed": (_("Screening failed"), "quiet"),
    "randomised": (_("In treatment"), "good"),
    "withdrawn": (_("Withdrawn"), "stop"),
    "completed": (_("Completed"), "info"),
}

VISIT_STATES: dict[str, Word] = {
    "dispensed": (_("Dispensed"), "good"),
    "set_aside": (_("Kit set aside"), "busy"),
    "open": (_("Due now"), "wait"),
    "overdue": (_("Window over"), "stop"),
    "coming": (_("Coming"), "planned"),
    "lacking": (_("Kit lacking"), "stop"),
    "passed": (_("Passed over"), "quiet"),
    "not_held": (_("Not held"), "quiet"),
}

KIT_STATES: dict[str, Word] = {
    "packed": (_("Packed"), "quiet"),
    "in_depot": (_("In the depot"), "quiet"),
    "requested": (_("Requested"), "planned"),
    "in_transit": (_("On its way"), "busy"),
    "available": (_("Available"), "good"),
    "assigned": (_("Set aside"), "busy"),
    "dispensed": (_("Dispensed"), "info"),
    "quarantined": (_("Quarantined"), "wait"),
    "damaged": (_("Damaged"), "stop"),
    "missing": (_("Missing on receipt"), "stop"),
    "lost_in_transit": (_("Lost on the way"), "stop"),
    "lost": (_("Lost"), "stop"),
    "expired": (_("Expired"), "stop"),
    "rejected": (_("Rejected"), "stop"),
    "recalled": (_("Recalled"), "stop"),
    "recalled_in_depot": (_("Recalled, in the depot"), "stop"),
    "returned": (_("Returned"), "info"),
    "unreturned": (_("Not returned"), "stop"),
    "pending_destruction": (_("To be destroyed"), "wait"),
    "destroyed": (_("Destroyed"), "quiet"),
}

KIT_MOVES: dict[str, Word] = {
    "release_lot": (_("Lot released"), "info"),
    "request": (_("Requested"), "info"),
    "cancel_request": (_("Request cancelled"), "quiet"),
    "ship": (_("Shipped to the site"), "busy"),
    "receive_good": (_("Received in good order"), "good"),
    "receive_damaged": (_("Received damaged"), "stop"),
    "receive_missing": (_("Missing on receipt"), "stop"),
    "receive_excursion": (_("Received after a temperature excursion: quarantined"), "wait"),
    "lose_in_transit": (_("Lost on the way"), "stop"),
    "quarantine": (_("Quarantined"), "wait"),
    "release_from_quarantine": (_("Released from quarantine"), "good"),
    "reject": (_("Rejected"), "stop"),
    "assign": (_("Set aside for a subject"), "busy"),
    "dispense": (_("Handed over"), "good"),
    "report_damaged": (_("Reported damaged"), "stop"),
    "report_lost": (_("Reported lost"), "stop"),
    "expire": (_("Expired"), "stop"),
    "recall": (_("Recalled"), "stop"),
    "recall_in_depot": (_("Recalled"), "stop"),
    "lift_recall": (_("Recall lifted"), "good"),
    "lift_in_depot": (_("Recall lifted"), "good"),
    "return": (_("Returned"), "info"),
    "recount": (_("Counted again"), "info"),
    "write_off": (_("Not returned"), "stop"),
    "authorise_destruction": (_("Destruction authorised"), "wait"),
    "destroy": (_("Destroyed"), "quiet"),
}

SHIPMENT_STATES: dict[str, Word] = {
    "requested": (_("Being prepared"), "planned"),
    "picked": (_("Being prepared"), "planned"),
    "in_transit": (_("On its way"), "busy"),
    "received": (_("Received"), "good"),
    "lost": (_("Lost"), "stop"),
    "cancelled": (_("Cancelled"), "quiet"),
}

OUTCOMES: dict[str, Word] = {
    "good": (_("Good"), "good"),
    "damaged": (_("Damaged"), "stop"),
    "missing": (_("Missing"), "stop"),
    "excursion": (_("Excursion"), "wait"),
}

FATES: dict[str, str] = {
    "damaged": _("damaged"),
    "lost": _("lost"),
    "expired": _("lasts no longer long enough"),
    "withdrawn": _("subject withdrawn"),
    "recalled": _("lot recalled"),
    "completed": _("treatment completed"),
    "excursion": _("out of its storage range"),
}

ENVIRONMENTS: dict[str, str] = {"production": _("Production"), "training": _("Training"), "test": _("Test")}

SEXES: dict[str, str] = {"female": _("female"), "male": _("male")}


SUPPLY_POLICIES: dict[str, str] = {"predictive": _("By prediction"), "minmax": _("Minimum and maximum")}

BLIND_RULES: dict[str, str] = {
    "none": _("None"),
    "at_least_one_each": _("At least one of each kit type"),
    "pad": _("Of each kit type at least half as many as of the most"),
    "ratio": _("In the allocation ratio"),
    "equal": _("Equal numbers of each kit type"),
}


def subject_state(state: str) -> Word:
    """A subject's state."""
    return SUBJECT_STATES[state]


def visit_state(state: str) -> Word:
    """Where a visit of a subject stands."""
    return VISIT_STATES[state]


def kit_state(state: str) -> Word:
    """A kit's state, as the people of a site say it."""
    return KIT_STATES[state]


def kit_move(move: str) -> Word:
    """What happened to a kit."""
    return KIT_MOVES[move]


def shipment_state(state: str) -> Word:
    """A shipment's state, as the site sees it."""
    return SHIPMENT_STATES[state]


def outcome(code: str) -> Word:
    """How a kit arrived."""
    return OUTCOMES[code]


def fate(code: str) -> str:
    """Why a kit was replaced or put back."""
    return FATES.get(code, code)


def sex(code: str) -> str:
    """A subject's sex."""
    return SEXES[code]


def supply_policy(code: str) -> str:
    """By what a resupply order is decided."""
    return SUPPLY_POLICIES[code]


def blind_rule(code: str) -> str:
    """How a resupply order is raised so that a box tells less."""
    return BLIND_RULES[code]


def install(app: Flask) -> None:
    """Give the templates these words."""
    app.jinja_env.globals.update(
        subject_state=subject_state,
        visit_state=visit_state,
        kit_state=kit_state,
        kit_move=kit_move,
        shipment_state=shipment_state,
        outcome=outcome,
        fate=fate,
        sex=sex,
        supply_policy=supply_policy,
        blind_rule=blind_rule,
    )
