"""How the deeds of the story are done at the pages: the address, and what a person types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.recording_temperatures import RecordTemperatures, record_temperatures
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.conduct.returning_kits import ReturnKit, return_kit
from rts.conduct.screening import ScreenSubject, screen_subject
from rts.conduct.sending_shipments import ShipShipment, ship_shipment
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.conduct.verifying_kits import VerifyKits, verify_kits
from rts.web.uploads import packed

DEPOT = "DEP-SH"

Form = tuple[str, dict[str, str]]


def _screen(command: ScreenSubject, _site: str) -> Form:
    entered = {
        "consent_on": command.consent_on.isoformat(),
        "year_of_birth": str(command.year_of_birth),
        "sex": command.sex,
        "is_new_person": "yes",
    }
    return f"sites/{command.site}/subjects/screen", entered


def _randomise(command: RandomiseSubject, _site: str) -> Form:
    answers = {f"answers.{code}": "yes" if answer else "no" for code, answer in command.answers.items()}
    return f"subjects/{command.subject}/randomise", answers | {
        f"values.{code}": f"{value:g}" for code, value in command.values.items()
    }


def _prepare(command: PrepareVisit, _site: str) -> Form:
    return f"subjects/{command.subject}/visits/{command.visit}/", {"window_reason": command.window_reason}


def _hand_over(command: HandOver, _site: str) -> Form:
    entered = {"step": "hand_over", "kit": command.kit, "window_reason": command.window_reason}
    return f"subjects/{command.subject}/visits/{command.visit}/", entered


def _end(command: EndTreatment, _site: str) -> Form:
    return f"subjects/{command.subject}/end-treatment", {"how": command.how, "reason": command.reason}


def _pick(command: PickShipment, _site: str) -> Form:
    entered = {"in_box": ",".join(command.kits), "step": "confirm"}
    return f"depots/{DEPOT}/shipments/{command.shipment}/pick", entered


def _ship(command: ShipShipment, _site: str) -> Form:
    entered = {"carrier": command.carrier, "tracking": command.tracking, "logger": command.logger}
    return f"depots/{DEPOT}/shipments/{command.shipment}/ship", entered


def _receive(command: ReceiveShipment, site: str) -> Form:
    entered = {f"outcome-{kit}": outcome for kit, outcome in command.outcomes.items()}
    return f"sites/{site}/shipments/{command.shipment}/", {"step": "review", **entered}


def _decide(command: DecideQuarantine, _site: str) -> Form:
    entered = {"decision": "release" if command.release else "reject", "document": command.document}
    return f"supply/quarantine/{command.kit}/decide", entered


def _request(command: RequestShipment, _site: str) -> Form:
    entered = {"site": command.site, "sets": str(command.sets), "reason": command.reason}
    return "supply/shipments/request", entered


def _unblind(command: UnblindSubject, _site: str) -> Form:
    return f"subjects/{command.subject}/code-break", {"reason": command.reason, "adverse_event": "yes"}


def _return(command: ReturnKit, _site: str) -> Form:
    entered = {"units": str(command.units), "returned_on": command.returned_on.isoformat(), "remark": command.remark}
    return f"subjects/{command.subject}/kits/{command.kit}/return", entered


def _verify(command: VerifyKits, _site: str) -> Form:
    return f"sites/{command.site}/account/verify", {f"kits-{kit}": "yes" for kit in command.kits}


def _temperatures(command: RecordTemperatures, _site: str) -> Form:
    entered = {"sent": packed(command.file), "zone": command.zone, "count_gaps": "yes" if command.count_gaps else ""}
    of = f"shipments/{command.shipment}" if command.shipment else "stock"
    return f"sites/{command.site}/{of}/temperatures", entered


FORMS: dict[Any, Callable[[Any, str], Form]] = {
    decide_quarantine: _decide,
    end_treatment: _end,
    hand_over: _hand_over,
    pick_shipment: _pick,
    prepare_visit: _prepare,
    randomise_subject: _randomise,
    record_temperatures: _temperatures,
    receive_shipment: _receive,
    request_shipment: _request,
    return_kit: _return,
    screen_subject: _screen,
    ship_shipment: _ship,
    unblind_subject: _unblind,
    verify_kits: _verify,
}
