"""The words in which people read the audit trail, which itself keeps codes: actions, objects, facts, their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rts.access.permissions import Role
from rts.refusal import Message, say
from rts.states import LIST_STATES, STATES
from rts.trial.definition import TrialDefinition
from rts.web.language import gettext as _
from rts.web.language import language_name, listed, sentence
from rts.web.rooms import role_name
from rts.web.words import ENVIRONMENTS, FATES, OUTCOMES, SEXES

OBJECTS: dict[str, Message] = {
    "subject": say("Subject"),
    "kit": say("Kit"),
    "shipment": say("Shipment"),
    "site": say("Site"),
    "lot": say("Lot"),
    "list": say("List"),
    "list_id": say("List"),
    "person": say("Account"),
    "event": say("Event"),
    "trial": say("Trial"),
    "definition": say("Definition"),
    "installation": say("System"),
    "deed": say("Deed"),
    "notice": say("Mail"),
    "list_specification": say("Specification"),
    "root_key": say("Root key"),
    "audit_key": say("Audit key"),
    "destruction": say("Destruction"),
    "temperature_record": say("Temperature record"),
}

ACTIONS_OF_INSTALLATION: dict[str, Message] = {
    "installation.set_up": say("System set up"),
    "clock.moved": say("Clock moved"),
    "clock.set": say("Clock set"),
    "audit.checkpointed": say("Checkpoint signed"),
    "person.added": say("Account added"),
    "role.granted": say("Role granted"),
    "role.ended": say("Role ended"),
    "account.locked": say("Account locked"),
    "account.unlocked": say("Account unlocked"),
    "account.closed": say("Account closed"),
    "password.wrong": say("Wrong password"),
    "password.changed": say("Password changed"),
    "password.reset": say("Password reset"),
    "session.started": say("Signed in"),
    "session.ended": say("Signed out"),
    "notice.undelivered": say("Mail not delivered"),
    "refused": say("Refused"),
    "check.run": say("Check begun"),
    "check.done": say("Check done"),
    "account.confirmed": say("Account confirmed"),
    "session.refused": say("Sign-in refused"),
    "sign_in.unknown_name": say("Unknown user name tried"),
    "own_key.registered": say("Own key registered"),
    "own_key.retired": say("Own key retired"),
    "root_key.added": say("Root key added"),
    "root_key.rotated": say("Root key rotated"),
    "root_key.retired": say("Root keys retired"),
    "audit_key.added": say("Audit key added"),
}

ACTIONS_OF_TRIAL: dict[str, Message] = {
    "definition.loaded": say("Definition loaded"),
    "definition.restricted_read": say("Restricted definition read"),
    "list.plans_read": say("Plans of the lists read"),
    "lists.checked": say("Lists checked for low entries"),
    "calendars.running_out": say("Calendar runs out"),
    "notice.undelivered": say("Mail not delivered"),
    "list.generated": say("List generated"),
    "list.imported": say("List imported"),
    "list.reviewed": say("List reviewed"),
    "list.approved": say("List approved"),
    "list.activated": say("List activated"),
    "list.withdrawn": say("List withdrawn"),
    "list.recipients": say("Recipients of a list changed"),
    "lot.recalled": say("Lot recalled"),
    "lot.recall_lifted": say("Recall lifted"),
    "lot.recall_rejected": say("Recalled kits rejected"),
    "lot.released": say("Lot released"),
    "site.gate_passed": say("Site gate passed"),
    "site.opened": say("Site opened"),
    "site.closed": say("Site closed"),
    "subject.screened": say("Subject screened"),
    "subject.screen_failed": say("Screening failed"),
    "subject.randomised": say("Subject randomised"),
    "allocation.taken": say("Allocation taken"),
    "visit.prepared": say("Visit prepared"),
    "kits.picked": say("Kits chosen"),
    "kit.dispensed": say("Kit dispensed"),
    "kit.replaced": say("Kit replaced"),
    "kit.mismatch": say("Wrong kit refused"),
    "kit.damaged": say("Kit damaged"),
    "kit.returned": say("Kit returned"),
    "kit.recounted": say("Kit counted again"),
    "kit.unreturned": say("Kit given up for lost"),
    "kits.verified": say("Kits verified"),
    "destruction.authorised": say("Destruction authorised"),
    "destruction.recorded": say("Destruction recorded"),
    "kit.lost": say("Kit lost"),
    "kit.released_from_quarantine": say("Kit released from quarantine"),
    "kit.rejected": say("Kit rejected"),
    "kits.expired": say("Kits expired"),
    "subject.withdrawn": say("Subject withdrawn"),
    "subject.completed": say("Subject completed"),
    "subject.unblinded": say("Code broken"),
    "subject.unblinding_looked_at": say("Broken code looked at again"),
    "shipment.asked_for": say("Shipment asked for"),
    "shipment.requested": say("Shipment requested"),
    "shipment.picked": say("Shipment picked"),
    "shipment.shipped": say("Shipment sent"),
    "shipment.received": say("Shipment received"),
    "temperatures.recorded": say("Temperatures recorded"),
    "shipment.lost": say("Shipment lost"),
    "shipment.cancelled": say("Shipment cancelled"),
    "shipment.overdue": say("Shipment overdue"),
    "resupply.surveyed": say("Resupply night run"),
    "site.resupplied": say("Site looked at for resupply"),
    "site.not_supplied": say("Site could not be supplied"),
    "consignment.chosen": say("Kits of a consignment chosen"),
    "detail.opened": say("Full record of an event read"),
    "refused": say("Refused"),
    "check.run": say("Check begun"),
    "check.done": say("Check done"),
    "definition.put_in_force": say("Definition put in force"),
    "definition.plan_changed": say("Plan of a definition changed"),
    "definition.plan_withdrawn": say("Plan of a definition withdrawn"),
    "list.design_read": say("Procedures compared"),
    "list.specified": say("List specified"),
    "list.specification_read": say("Specification of a list read"),
    "list.seed_share_committed": say("Share of a seed committed to"),
    "list.seed_share_revealed": say("Share of a seed revealed"),
    "list.closed": say("List closed"),
    "list.release_asked": say("Release of a list asked for"),
    "list.released": say("List released"),
    "list.revealed": say("List revealed"),
    "list.entry_proved": say("Entry of a list proved"),
    "list.certificate_issued": say("Certificate of a list issued"),
    "list.document_issued": say("Unblinded document of a list issued"),
    "subject.stratum_corrected": say("Stratification value corrected"),
    "subject.randomised_in_error": say("Randomised in error"),
    "trial.exported": say("Trial exported"),
}

FACTS: dict[str, Message] = {
    "reason": say("Reason"),
    "state": say("State"),
    "trial": say("Trial"),
    "site": say("Site"),
    "sites": say("Sites"),
    "depot": say("Depot"),
    "subject": say("Subject"),
    "visit": say("Visit"),
    "kit": say("Kit"),
    "kits": say("Kits"),
    "new_kits": say("New kits"),
    "kits_quarantined": say("Kits quarantined"),
    "kits_out_too_long": say("Kits out of range for too long"),
    "possible_leak": say("Possible leak"),
    "lacking": say("None suitable"),
    "ordered": say("Ordered"),
    "sent": say("Sent"),
    "cut": say("Cut"),
    "is_split": say("From several lots"),
    "fate": say("Fate"),
    "outcomes": say("Outcomes"),
    "logger": say("Logger"),
    "carrier": say("Carrier"),
    "tracking": say("Tracking"),
    "sets": say("Sets"),
    "expiry": say("Expiry"),
    "ship_on": say("Ship on"),
    "due_on": say("Due on"),
    "expected_on": say("Expected on"),
    "run_date": say("Run date"),
    "in_need": say("In need"),
    "on": say("On"),
    "at": say("At"),
    "consent_on": say("Consent on"),
    "year_of_birth": say("Year of birth"),
    "sex": say("Sex"),
    "previous": say("Previous code"),
    "adverse_event": say("Adverse event"),
    "gate": say("Gate"),
    "passed_on": say("Passed on"),
    "document": say("Document"),
    "list": say("List"),
    "entries": say("Entries"),
    "unused": say("Unused"),
    "told": say("Told"),
    "stratum": say("Stratum"),
    "position": say("Position"),
    "arm": say("Arm"),
    "purpose": say("Purpose"),
    "commitment": say("Commitment"),
    "definition": say("Definition"),
    "file_digest": say("File digest"),
    "times_generated": say("Times generated"),
    "opened": say("Opened values"),
    "digest": say("Digest"),
    "restricted_digest": say("Restricted digest"),
    "in_force_from": say("In force from"),
    "protocol_version": say("Protocol version"),
    "known_until": say("Known until"),
    "counts": say("Counts"),
    "role": say("Role"),
    "grant": say("Grant"),
    "printed_name": say("Printed name"),
    "organisation": say("Organisation"),
    "address": say("Address"),
    "attempts": say("Attempts"),
    "emergency_only": say("Emergency only"),
    "environment": say("Environment"),
    "offset": say("Offset"),
    "deed": say("Deed"),
    "code": say("Code"),
    "rules": say("Rules"),
    "randomisation_number": say("Randomisation number"),
    "answers": say("Answers"),
    "values": say("Values"),
    "language": say("Language"),
    "findings": say("Findings"),
    "version": say("Version"),
    "password_given_by": say("Password given by"),
    "number": say("Number"),
    "allocated_in": say("Allocated in"),
    "specification": say("Specification"),
    "data_keys": say("Data keys"),
    "keys_files": say("Keys files"),
    "fingerprint": say("Fingerprint"),
    "person": say("Person"),
    "public_key": say("Public key"),
    "recipients": say("Recipients"),
    "events": say("Events"),
    "units": say("Units left"),
    "shipments": say("Shipments"),
    "certificate": say("Certificate"),
    "document_digest": say("Digest of the document"),
    "from": say("From"),
    "until": say("Until"),
    "readings": say("Readings"),
    "lowest": say("Lowest, °C"),
    "highest": say("Highest, °C"),
    "mean_kinetic": say("Mean kinetic temperature, °C"),
    "seconds_below": say("Seconds below the range"),
    "seconds_above": say("Seconds above the range"),
    "seconds_unknown": say("Seconds without readings"),
}

DEEDS: dict[str, Message] = {
    "read_design": say("Compare procedures"),
    "activate_list": say("Activate list"),
    "add_person": say("Add account"),
    "authorise_destruction": say("Authorise destruction"),
    "announce_audit_key": say("Announce audit key"),
    "approve_list": say("Approve list"),
    "ask_for_release": say("Ask for the release of a list"),
    "change_password": say("Change password"),
    "change_plan": say("Change plan"),
    "close_account": say("Close account"),
    "close_list": say("Close list"),
    "close_shipment": say("Close shipment"),
    "close_site": say("Close site"),
    "commit_seed_share": say("Commit to a share of a seed"),
    "confirm_account": say("Confirm account"),
    "confirm_release": say("Release list"),
    "correct_stratum": say("Correct a stratification value"),
    "decide_quarantine": say("Decide on a kit in quarantine"),
    "end_recall": say("End recall"),
    "end_role": say("End role"),
    "end_treatment": say("Record the end of treatment"),
    "export_trial": say("Export trial"),
    "fail_screening": say("Record screening failure"),
    "generate_list": say("Generate list"),
    "grant_role": say("Grant role"),
    "hand_over": say("Hand kit over"),
    "import_list": say("Import list"),
    "load_definition": say("Load definition"),
    "make_checkpoints": say("Sign checkpoints"),
    "mark_randomised_in_error": say("Mark as randomised in error"),
    "move_clock": say("Move clock"),
    "note_retirement": say("Note the retirement of root keys"),
    "note_rotation": say("Note the rotation of the root key"),
    "open_annex": say("Open annex of a list"),
    "open_site_for_subjects": say("Open site"),
    "pass_gate": say("Record gate"),
    "pick_shipment": say("Pick shipment"),
    "prepare_visit": say("Prepare visit"),
    "prove_entry": say("Prove entry"),
    "put_in_force": say("Put in force"),
    "randomise_subject": say("Randomise subject"),
    "read_list_plans": say("Read plans of the lists"),
    "read_restricted_part": say("Read restricted definition"),
    "read_sealed_detail": say("Read the full record"),
    "read_specification": say("Read specification of a list"),
    "record_certificate": say("Issue certificate of a list"),
    "record_document": say("Issue unblinded document of a list"),
    "recall_lot": say("Recall lot"),
    "receive_shipment": say("Receive shipment"),
    "record_destruction": say("Record destruction"),
    "record_temperatures": say("Record temperatures"),
    "register_own_key": say("Register own key"),
    "release_lot": say("Release lot"),
    "replace_kit": say("Replace kit"),
    "report_kit": say("Report kit"),
    "report_overdue": say("Report overdue shipments"),
    "request_shipment": say("Request shipment"),
    "reset_password": say("Reset password"),
    "resupply_site": say("Resupply site"),
    "retire_own_key": say("Retire own key"),
    "return_kit": say("Record a returned kit"),
    "reveal_list": say("Reveal list"),
    "reveal_seed_share": say("Reveal a share of a seed"),
    "review_list": say("Review list"),
    "rewrap_data_key": say("Wrap a data key anew"),
    "rewrap_keys_file": say("Wrap a keys file anew"),
    "screen_subject": say("Record screening"),
    "set_clock": say("Set clock"),
    "ship_shipment": say("Ship shipment"),
    "specify_list": say("Specify list"),
    "survey_night": say("Survey for the night run"),
    "sweep_expired": say("Mark expired kits"),
    "unblind_subject": say("Break the code"),
    "unlock_account": say("Unlock account"),
    "verify_kits": say("Verify kits"),
    "warn_of_calendars": say("Warn of calendars running out"),
    "warn_of_low_lists": say("Warn of lists running low"),
    "withdraw_list": say("Withdraw list"),
    "write_off_kit": say("Give a kit up for lost"),
}

# Why a deed was refused: the codes of rts.refusal.Refusal.
REFUSALS: dict[str, Message] = {
    "invalid": say("Bad input"),
    "forbidden": say("Not allowed"),
    "not_found": say("Not found"),
    "conflict": say("Done already, or overtaken"),
    "rule": say("A rule says no"),
    "unavailable": say("Service not ready"),
    "wrong_password": say("Wrong password"),
}

# The kinds of sealed values that are opened, by the first word of their place.
OPENED: dict[str, Message] = {
    "list": say("list entries"),
    "definition_version": say("restricted definitions"),
    "audit_detail": say("sealed details"),
    "list_specification": say("specifications of lists"),
    "seed_share": say("shares of seeds"),
}

# The words for the values of facts.
VALUES: dict[str, Mapping[str, object]] = {
    "state": {**LIST_STATES, **STATES},
    "sex": SEXES,
    "fate": FATES,
    "outcomes": {code: word for code, (word, _tone) in OUTCOMES.items()},
    "environment": ENVIRONMENTS,
    "purpose": ENVIRONMENTS,
    "deed": DEEDS,
    "code": REFUSALS,
    "opened": OPENED,
}


def role_word(role: str) -> str:
    """The name of the role in which someone acted; empty for none."""
    return role_name(role) if role in set(Role) else ""


def object_word(kind: str) -> str:
    """What kind of thing an event is about."""
    return sentence(OBJECTS.get(kind, kind))


def object_name(kind: str, code: str) -> str:
    """What an event is about, by name: the code of the thing, in words for a deed that was refused."""
    return sentence(DEEDS.get(code, code)) if kind == "deed" else code


def action_word(action: str) -> str:
    """What happened, in words."""
    return sentence((ACTIONS_OF_TRIAL | ACTIONS_OF_INSTALLATION).get(action, action))


def action_words(*, of_trial: bool) -> dict[str, str]:
    """Every kind of event of a trial's trail, or of the installation's, in words."""
    words = ACTIONS_OF_TRIAL if of_trial else ACTIONS_OF_INSTALLATION
    return {action: sentence(word) for action, word in words.items()}


def facts_of(detail: dict[str, Any], definition: TrialDefinition | None) -> list[tuple[str, str]]:
    """A detail's facts but for what changed, as (name, value). `definition` is that of the trial, None without one."""
    return [
        (fact_word(name), _value(name, value, definition))
        for name, value in detail.items()
        if name not in {"before", "after"} and value not in ("", None)
    ]


def changes_of(detail: dict[str, Any], definition: TrialDefinition | None) -> list[tuple[str, str, str]]:
    """What changed, as (name, before, after)."""
    before, after = detail.get("before", {}), detail.get("after", {})
    return [
        (fact_word(name), _value(name, before.get(name), definition), _value(name, after.get(name), definition))
        for name in sorted({*before, *after})
    ]


def fact_word(name: str) -> str:
    """What a fact of a detail is called; the name itself for one without a word."""
    return sentence(FACTS.get(name) or name.replace("_", " ").capitalize())


def _value(name: str, value: Any, definition: TrialDefinition | None) -> str:
    """A fact's value in words, where its codes have any."""
    if name == "gate" and definition is not None:
        return sentence(definition.gate_name(value))
    if name == "role" and value in set(Role):
        return role_name(value)
    if name == "language":
        return language_name(value)
    return _text(value, VALUES.get(name, {}))


def _text(value: Any, words: Mapping[str, object]) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return listed(_text(each, words) for each in value)
    if isinstance(value, dict):
        pairs = ((_text(name, words), _text(each, words)) for name, each in value.items())
        return _("; ").join(_("%(name)s: %(value)s", name=name, value=each) for name, each in pairs)
    return sentence(words.get(str(value), value))
