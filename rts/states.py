"""How a sentence names the state of a kit, subject, shipment, list or site, what may happen to a kit, the gates that
most trials have, and the services of an installation: words that are translated with the sentence they stand in.
"""

from __future__ import annotations

from rts.refusal import Message, say

STATES: dict[str, Message] = {
    # kits
    "packed": say("packed"),
    "in_depot": say("in the depot"),
    "requested": say("requested"),
    "in_transit": say("in transit"),
    "available": say("available"),
    "assigned": say("set aside"),
    "dispensed": say("dispensed"),
    "quarantined": say("quarantined"),
    "damaged": say("damaged"),
    "missing": say("missing"),
    "lost_in_transit": say("lost in transit"),
    "lost": say("lost"),
    "expired": say("expired"),
    "rejected": say("rejected"),
    "recalled": say("recalled"),
    "recalled_in_depot": say("recalled, in the depot"),
    "returned": say("returned"),
    "unreturned": say("not returned"),
    "pending_destruction": say("to be destroyed"),
    "destroyed": say("destroyed"),
    # shipments
    "picked": say("picked"),
    "received": say("received"),
    "cancelled": say("cancelled"),
    # subjects
    "screened": say("in screening"),
    "screen_failed": say("screening failed"),
    "randomised": say("in treatment"),
    "withdrawn": say("withdrawn"),
    "completed": say("completed"),
    # sites
    "planned": say("planned"),
    "open": say("open"),
    "closed": say("closed"),
}

LIST_STATES: dict[str, Message] = {
    "generated": say("generated"),
    "approved": say("approved"),
    "active": say("active"),
    "closed": say("closed"),
    "withdrawn": say("withdrawn from use"),
}

MOVES: dict[str, Message] = {
    "release_lot": say("release"),
    "request": say("request"),
    "cancel_request": say("cancel the request"),
    "ship": say("ship"),
    "receive_good": say("receive in good order"),
    "receive_damaged": say("receive damaged"),
    "receive_missing": say("miss on receipt"),
    "receive_excursion": say("receive after an excursion"),
    "lose_in_transit": say("lose in transit"),
    "quarantine": say("quarantine"),
    "release_from_quarantine": say("release from quarantine"),
    "reject": say("reject"),
    "assign": say("set aside for a subject"),
    "dispense": say("dispense"),
    "report_damaged": say("report damaged"),
    "report_lost": say("report lost"),
    "expire": say("expire"),
    "recall": say("recall"),
    "recall_in_depot": say("recall"),
    "lift_recall": say("lift the recall"),
    "lift_in_depot": say("lift the recall"),
    "return": say("return"),
    "recount": say("count again"),
    "write_off": say("give up for lost"),
    "authorise_destruction": say("authorise destruction"),
    "destroy": say("destroy"),
}

# By their codes; a definition may give them names of its own.
GATES: dict[str, Message] = {
    "ethics": say("Ethics approval"),
    "contract": say("Site contract"),
    "authority": say("Authority approval"),
    "unblinding-access": say("Emergency code break tried"),
}

JOBS: dict[str, Message] = {
    "resupply": say("Nightly resupply"),
    "expiry": say("Expiry sweep"),
    "overdue": say("Overdue shipments"),
    "low_entries": say("Low list entries"),
    "calendars": say("Calendars running out"),
    "checkpoint": say("Audit checkpoint"),
    "delivery": say("Mail delivery"),
}
