"""Every table of the database, as plain mapped classes.

Times are UTC. Columns that could reveal an arm hold ciphertext only (`*_box`, `record`); each is bound by its
associated data to a permanent
id (list and position, site and date), never to the row's `id`. No column, order or length groups subjects or kits by
arm.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. Refuses a naive datetime: SQLite would store it without a word."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database, in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored moment needs its zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database, in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The schema; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), date: Date(), str: Text(), bytes: LargeBinary(), bool: Boolean()}  # noqa: RUF012


def one_of(column: str, *values: str) -> CheckConstraint:
    """A check constraint that limits a text column to `values`."""
    quoted = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({quoted})", name=f"{column}_known")


def key() -> Mapped[int]:
    """An integer primary key."""
    return mapped_column(Integer, primary_key=True)


def to(table: str, **options: Any) -> Any:
    """A foreign key column to `table`.id."""
    return mapped_column(ForeignKey(f"{table}.id"), **options)


# Values that hide what they are made from: ciphertext, commitments, digests, hashes, signatures. People who must not
# learn an arm may see them. Nothing else may be given one of these types: the blinding tests compare every other column
# between worlds that differ in the arms alone.
HIDES = {"hides": True}
Ciphertext = Annotated[bytes, mapped_column(LargeBinary, info=HIDES)]
Digest = Annotated[str, mapped_column(String(64), info=HIDES)]
HidingText = Annotated[str, mapped_column(Text, info=HIDES)]

# A data key as the keyring wrapped it. Rotation rewraps every column of this type, whichever table it stands in.
DATA_KEY = {"data_key": True}
DataKey = Annotated[str, mapped_column(Text, info=DATA_KEY)]


# --- the installation ----------------------------------------------------------------------------------------------


class Installation(Base):
    """The one row that says what this installation is. `clock_offset` (seconds) stays 0 in production."""

    __tablename__ = "installation"
    __table_args__ = (one_of("environment", "production", "training", "test"), CheckConstraint("id = 1", name="single"))
    id: Mapped[int] = key()
    environment: Mapped[str]
    clock_offset: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]


# --- people --------------------------------------------------------------------------------------------------------


class Person(Base):
    """One person, one account; never deleted, never given to someone else.

    `password_given_by` names whoever else gave the account its latest password, until somebody else again has confirmed
    that its owner has chosen the next (rts.conduct.accounts).
    """

    __tablename__ = "person"
    id: Mapped[int] = key()
    username: Mapped[str] = mapped_column(String(64), unique=True)
    printed_name: Mapped[str]
    organisation: Mapped[str]
    email: Mapped[str]
    language: Mapped[str] = mapped_column(String(16), default="en")
    password_hash: Mapped[HidingText]
    password_changed_at: Mapped[datetime]
    password_must_change: Mapped[bool] = mapped_column(default=False)
    password_given_by: Mapped[str | None] = mapped_column(String(120))
    failed_sign_ins: Mapped[int] = mapped_column(default=0)
    locked_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class RoleGrant(Base):
    """A role held by a person for a trial, site or depot from one moment to another: never deleted, only ended."""

    __tablename__ = "role_grant"
    id: Mapped[int] = key()
    person_id: Mapped[int] = to("person", index=True)
    role: Mapped[str] = mapped_column(String(40))
    trial_id: Mapped[int | None] = to("trial")
    site_id: Mapped[int | None] = to("site")
    depot_id: Mapped[int | None] = to("depot")
    granted_from: Mapped[datetime]
    granted_to: Mapped[datetime | None]
    granted_by: Mapped[str]
    ended_by: Mapped[str | None]
    reason: Mapped[str]
    person: Mapped[Person] = relationship()


class PersonKey(Base):
    """The public half of a statistician's own key, from registration to retirement: lists are sealed to it, and it
    opens them with no server. The private half is never here. Rows stay; of one person one at most is live.
    """

    __tablename__ = "person_key"
    __table_args__ = (
        UniqueConstraint("person_id", "version"),
        Index(
            "uq_person_key_live",
            "person_id",
            unique=True,
            sqlite_where=text("retired_at IS NULL"),
            postgresql_where=text("retired_at IS NULL"),
        ),
        CheckConstraint(
            "(retired_at IS NULL) = (retired_by IS NULL) AND (retired_at IS NULL) = (retire_reason IS NULL)",
            name="retired_whole",
        ),
    )
    id: Mapped[int] = key()
    person_id: Mapped[int] = to("person")
    version: Mapped[int]
    public_key: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    registered_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    retired_by: Mapped[str | None]
    retire_reason: Mapped[str | None]
    person: Mapped[Person] = relationship()


class WebSession(Base):
    """A signed-in browser. The token itself is not stored, only its SHA-256. `emergency_only` is what it was for when
    it was opened; each request looks at the account as it is then.
    """

    __tablename__ = "web_session"
    id: Mapped[int] = key()
    token_digest: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = to("person", index=True)
    csrf_secret: Mapped[str]
    emergency_only: Mapped[bool] = mapped_column(default=False)
    address: Mapped[str]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    person: Mapped[Person] = relationship()


class SignInAttempt(Base):
    """A password tried, rightly or not: what throttling counts.

    A name that is nobody's stands as a keyed digest only: people slip, and type a password there.
    """

    __tablename__ = "sign_in_attempt"
    __table_args__ = (Index(None, "username", "at"), Index(None, "address", "at"))
    id: Mapped[int] = key()
    username: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    right: Mapped[bool]


class Signature(Base):
    """An electronic signature: who (printed name), when and in which zone, what it means, and the digest of the
    record signed (21 CFR 11.50, 11.70). `password_given_by` is the person's at that moment: only a code break has one.
    """

    __tablename__ = "signature"
    __table_args__ = (Index(None, "object_type", "object_id"),)
    id: Mapped[int] = key()
    person_id: Mapped[int] = to("person")
    trial_id: Mapped[int | None] = to("trial")
    printed_name: Mapped[str]
    meaning: Mapped[str]
    signed_at: Mapped[datetime]
    time_zone: Mapped[str]
    object_type: Mapped[str] = mapped_column(String(40))
    object_id: Mapped[str] = mapped_column(String(80))
    record_digest: Mapped[Digest]
    password_given_by: Mapped[str | None] = mapped_column(String(120))


class IdempotencyKey(Base):
    """A writing request that was carried out: a repeat finds the ids of its outcome here and never a reply."""

    __tablename__ = "idempotency_key"
    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    username: Mapped[str] = mapped_column(String(64), primary_key=True)
    deed: Mapped[str] = mapped_column(String(60))
    body_mac: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str]
    at: Mapped[datetime]


# --- the trial -----------------------------------------------------------------------------------------------------


class Trial(Base):
    """A trial; `data_key` is its wrapped data key."""

    __tablename__ = "trial"
    id: Mapped[int] = key()
    code: Mapped[str] = mapped_column(String(40), unique=True)
    data_key: Mapped[DataKey]
    created_at: Mapped[datetime]


class DefinitionVersion(Base):
    """A numbered, immutable version of a trial's definition; the restricted part and the salt of its digest are
    sealed.
    """

    __tablename__ = "definition_version"
    __table_args__ = (UniqueConstraint("trial_id", "version"),)
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    version: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    public_text: Mapped[str]
    restricted_box: Mapped[Ciphertext]
    restricted_digest: Mapped[Digest]
    loaded_at: Mapped[datetime]
    loaded_by: Mapped[str]


class Depot(Base):
    """A depot; its facts (zone, calendar, cut-off) stand in the definition in force."""

    __tablename__ = "depot"
    __table_args__ = (UniqueConstraint("trial_id", "code"),)
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    code: Mapped[str] = mapped_column(String(40))
    parent_id: Mapped[int | None] = to("depot")


class Site(Base):
    """A site and whether it is open; its facts, such as the depot that supplies it, stand in the definition in force
    there. `unsupplied_since`: the night from which on that depot could not fill its order.
    """

    __tablename__ = "site"
    __table_args__ = (UniqueConstraint("trial_id", "code"), one_of("state", "planned", "open", "closed"))
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    code: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20), default="planned")
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    unsupplied_since: Mapped[datetime | None]
    trial: Mapped[Trial] = relationship()


class SiteGate(Base):
    """A gate a site has passed, with its date and document."""

    __tablename__ = "site_gate"
    __table_args__ = (UniqueConstraint("site_id", "gate"),)
    id: Mapped[int] = key()
    site_id: Mapped[int] = to("site")
    gate: Mapped[str] = mapped_column(String(40))
    passed_on: Mapped[date]
    document: Mapped[str]
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str]


class DefinitionInForce(Base):
    """From which local date a definition version is in force at a site, and the document that allows it there.

    A row that stands is in force from its date on, until one with a later date is. A plan taken back before its date
    stays too, ended with its reason.
    """

    __tablename__ = "definition_in_force"
    __table_args__ = (
        *(
            Index(
                f"uq_definition_in_force_standing_{column}",
                "site_id",
                column,
                unique=True,
                sqlite_where=text("ended_at IS NULL"),
                postgresql_where=text("ended_at IS NULL"),
            )
            for column in ("from_date", "version_id")
        ),
        CheckConstraint(
            "(ended_at IS NULL) = (ended_by IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)", name="ended_whole"
        ),
    )
    id: Mapped[int] = key()
    site_id: Mapped[int] = to("site")
    version_id: Mapped[int] = to("definition_version")
    from_date: Mapped[date]
    document: Mapped[str]
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    end_reason: Mapped[str | None]
    version: Mapped[DefinitionVersion] = relationship()


# --- lists ---------------------------------------------------------------------------------------------------------


class ListSpecification(Base):
    """A signed specification of a planned list: how it is made and who may know what, sealed whole. The newest of a
    plan counts. `digest` is salted, the salt sealed with the content: block sizes could be guessed from a bare one.
    """

    __tablename__ = "list_specification"
    __table_args__ = (UniqueConstraint("trial_id", "plan_id", "number"),)
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    plan_id: Mapped[str] = mapped_column(String(40))
    number: Mapped[int]
    version_id: Mapped[int] = to("definition_version")
    digest: Mapped[Digest]
    content_box: Mapped[Ciphertext]
    specified_at: Mapped[datetime]
    specified_by: Mapped[str]


class SeedShare(Base):
    """One person's share of a joint seed: committed to first, revealed once everybody has committed."""

    __tablename__ = "seed_share"
    __table_args__ = (
        UniqueConstraint("specification_id", "person_id"),
        CheckConstraint("(revealed_at IS NULL) = (share_box IS NULL)", name="revealed_whole"),
    )
    id: Mapped[int] = key()
    specification_id: Mapped[int] = to("list_specification")
    person_id: Mapped[int] = to("person")
    commitment: Mapped[Digest]
    committed_at: Mapped[datetime]
    share_box: Mapped[Ciphertext | None]
    revealed_at: Mapped[datetime | None]
    person: Mapped[Person] = relationship()


class ListFile(Base):
    """A sealed allocation or kit list. `data_key` is its wrapped data key; `seed_mark` an HMAC of the seed, so that
    no seed serves twice.
    """

    __tablename__ = "list_file"
    __table_args__ = (
        UniqueConstraint("trial_id", "list_id"),
        one_of("kind", "subjects", "kits"),
        one_of("purpose", "production", "training", "test"),
        one_of("state", "generated", "approved", "active", "closed", "withdrawn"),
    )
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    list_id: Mapped[str] = mapped_column(String(40))
    plan_id: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(20))
    purpose: Mapped[str] = mapped_column(String(20))
    prefix: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(20))
    entries: Mapped[int]
    times_generated: Mapped[int]
    commitment: Mapped[Digest]
    file_digest: Mapped[Digest]
    manifest_digest: Mapped[Digest]
    data_key: Mapped[DataKey]
    seed_mark: Mapped[Digest] = mapped_column(unique=True)
    version_id: Mapped[int] = to("definition_version")
    generated_at: Mapped[datetime]
    generated_by: Mapped[str]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None]
    activated_at: Mapped[datetime | None]
    activated_by: Mapped[str | None]
    # Empty for a list made before specifications were kept.
    specification_id: Mapped[int | None] = to("list_specification")
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    trial: Mapped[Trial] = relationship()


class ListRelease(Base):
    """The release of a closed list after the database lock, by two people: `document` says that the data are locked."""

    __tablename__ = "list_release"
    __table_args__ = (
        CheckConstraint("(confirmed_at IS NULL) = (confirmed_by IS NULL)", name="confirmed_whole"),
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> asked_by", name="two_people"),
    )
    id: Mapped[int] = key()
    list_id: Mapped[int] = to("list_file", unique=True)
    document: Mapped[str]
    asked_at: Mapped[datetime]
    asked_by: Mapped[str]
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[str | None]


class ListEntry(Base):
    """An entry of an active subject list: its sealed record, unchanged from the file, and the subject who used it."""

    __tablename__ = "list_entry"
    __table_args__ = (
        UniqueConstraint("list_id", "stratum", "position"),
        Index(
            "ix_list_entry_unused",
            "list_id",
            "stratum",
            "position",
            sqlite_where=text("subject_id IS NULL"),
            postgresql_where=text("subject_id IS NULL"),
        ),
        # Partial, so that a planner never looks for unused entries through it: every one of them is NULL here.
        Index(
            "uq_list_entry_subject_id",
            "subject_id",
            unique=True,
            sqlite_where=text("subject_id IS NOT NULL"),
            postgresql_where=text("subject_id IS NOT NULL"),
        ),
        CheckConstraint("(subject_id IS NULL) = (used_at IS NULL)", name="used_whole"),
    )
    id: Mapped[int] = key()
    list_id: Mapped[int] = to("list_file")
    stratum: Mapped[str] = mapped_column(String(200))
    position: Mapped[int]
    record: Mapped[Ciphertext]
    subject_id: Mapped[int | None] = to("subject")
    used_at: Mapped[datetime | None]
    list: Mapped[ListFile] = relationship()
    minimised: Mapped[MinimisedAllocation | None] = relationship(viewonly=True)


class MinimisedAllocation(Base):
    """What minimisation made of a tape's word for the subject who took the entry: everything from which it replays."""

    __tablename__ = "minimised_allocation"
    id: Mapped[int] = key()
    entry_id: Mapped[int] = to("list_entry", unique=True)
    record: Mapped[Ciphertext]


class BlindedLot(Base):
    """A blinded lot: kits of every type of the group under one code and one expiry (last usable day)."""

    __tablename__ = "blinded_lot"
    __table_args__ = (UniqueConstraint("trial_id", "code"),)
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    list_id: Mapped[int] = to("list_file", unique=True)
    depot_id: Mapped[int] = to("depot")
    code: Mapped[str] = mapped_column(String(40))
    expiry: Mapped[date]
    released_at: Mapped[datetime | None]
    released_by: Mapped[str | None]
    release_document: Mapped[str | None]


class LotRecall(Base):
    """The recall of a blinded lot, by `document` of the sponsor's. It ends by being lifted (`how` is `lifted`) or with
    the rejection of what lies still (`rejected`).
    """

    __tablename__ = "lot_recall"
    __table_args__ = (
        one_of("how", "lifted", "rejected"),
        CheckConstraint(
            "(ended_at IS NULL) = (ended_by IS NULL) AND (ended_at IS NULL) = (end_document IS NULL)"
            " AND (ended_at IS NULL) = (how IS NULL)",
            name="ended_whole",
        ),
        Index(
            "uq_lot_recall_open",
            "blinded_lot_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )
    id: Mapped[int] = key()
    blinded_lot_id: Mapped[int] = to("blinded_lot")
    reason: Mapped[str]
    document: Mapped[str]
    recalled_at: Mapped[datetime]
    recalled_by: Mapped[str]
    how: Mapped[str | None] = mapped_column(String(20))
    end_document: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class ManufacturingLot(Base):
    """Which manufacturing lot each kit type of a blinded lot comes from: sealed, since a manufacturing lot is of one
    type.
    """

    __tablename__ = "manufacturing_lot"
    id: Mapped[int] = key()
    blinded_lot_id: Mapped[int] = to("blinded_lot", unique=True)
    lots_box: Mapped[Ciphertext]


# --- subjects ------------------------------------------------------------------------------------------------------


class Subject(Base):
    """A screened person, known here by code, year of birth and sex only. JSON columns hold what was entered at
    screening.
    """

    __tablename__ = "subject"
    __table_args__ = (
        UniqueConstraint("trial_id", "code"),
        UniqueConstraint("site_id", "sequence"),
        UniqueConstraint("trial_id", "randomisation_number"),
        one_of("state", "screened", "screen_failed", "randomised", "withdrawn", "completed"),
        one_of("sex", "female", "male"),
        CheckConstraint("(randomised_at IS NULL) = (randomisation_number IS NULL)", name="randomised_whole"),
        CheckConstraint("(randomised_at IS NULL) = (state IN ('screened', 'screen_failed'))", name="state_whole"),
        Index(None, "site_id", "state"),
    )
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    site_id: Mapped[int] = to("site")
    sequence: Mapped[int]
    code: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20))
    consent_on: Mapped[date]
    year_of_birth: Mapped[int]
    sex: Mapped[str] = mapped_column(String(10))
    answers: Mapped[str | None]
    factor_values: Mapped[str | None]
    stratum: Mapped[str | None] = mapped_column(String(200))
    dose_level: Mapped[str] = mapped_column(String(40))
    version_id: Mapped[int] = to("definition_version")
    screened_at: Mapped[datetime]
    screened_by: Mapped[str]
    previous_code: Mapped[str | None] = mapped_column(String(40))
    randomised_at: Mapped[datetime | None]
    randomised_on: Mapped[date | None]
    randomised_by: Mapped[str | None]
    randomisation_number: Mapped[str | None] = mapped_column(String(20))
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    unblinded_at: Mapped[datetime | None]
    site: Mapped[Site] = relationship()
    trial: Mapped[Trial] = relationship()


class AllocationRemark(Base):
    """What was found wrong with an allocation, written beside it: the entry stays used and the stratum as allocated.

    `kind` is `in_error` (the subject should not have been randomised) or `stratum` (a value was entered wrongly:
    `factor_values` and `stratum` are as they should have been).
    """

    __tablename__ = "allocation_remark"
    __table_args__ = (
        one_of("kind", "in_error", "stratum"),
        CheckConstraint("(kind = 'stratum') = (stratum IS NOT NULL)", name="stratum_whole"),
        CheckConstraint("(stratum IS NULL) = (factor_values IS NULL)", name="values_whole"),
    )
    id: Mapped[int] = key()
    subject_id: Mapped[int] = to("subject", index=True)
    kind: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str]
    factor_values: Mapped[str | None]
    stratum: Mapped[str | None] = mapped_column(String(200))
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str]


class CodeBreak(Base):
    """An emergency unblinding, or a later look at one; never what was seen."""

    __tablename__ = "code_break"
    __table_args__ = (one_of("kind", "break", "look"),)
    id: Mapped[int] = key()
    subject_id: Mapped[int] = to("subject", index=True)
    person_id: Mapped[int] = to("person")
    signature_id: Mapped[int] = to("signature")
    kind: Mapped[str] = mapped_column(String(10))
    at: Mapped[datetime]
    reason: Mapped[str]
    adverse_event: Mapped[bool]
    person: Mapped[Person] = relationship()


# --- kits ----------------------------------------------------------------------------------------------------------


class Shipment(Base):
    """A consignment from a depot to a site: kit numbers, never types."""

    __tablename__ = "shipment"
    __table_args__ = (
        UniqueConstraint("trial_id", "number"),
        one_of("state", "requested", "picked", "in_transit", "received", "lost", "cancelled"),
        Index(None, "site_id", "state"),
        Index(None, "depot_id", "state"),
    )
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    number: Mapped[str] = mapped_column(String(20))
    depot_id: Mapped[int] = to("depot")
    site_id: Mapped[int] = to("site")
    state: Mapped[str] = mapped_column(String(20))
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    ship_on: Mapped[date]
    expected_on: Mapped[date]
    picked_at: Mapped[datetime | None]
    picked_by: Mapped[str | None]
    shipped_at: Mapped[datetime | None]
    shipped_by: Mapped[str | None]
    carrier: Mapped[str | None]
    tracking: Mapped[str | None]
    logger: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    end_reason: Mapped[str | None]
    overdue_told_at: Mapped[datetime | None]
    site: Mapped[Site] = relationship()
    depot: Mapped[Depot] = relationship()


class Kit(Base):
    """A numbered kit and where it is now; every change goes through `rts.store.ledger`. `record` is its sealed list
    record.
    """

    __tablename__ = "kit"
    __table_args__ = (
        UniqueConstraint("trial_id", "number"),
        UniqueConstraint("list_id", "position"),
        Index(None, "site_id", "state"),
        Index(None, "depot_id", "state"),
        CheckConstraint("(state IN ('assigned', 'dispensed')) = (subject_id IS NOT NULL)", name="held_by_a_subject"),
        CheckConstraint(
            "state NOT IN ('available', 'assigned', 'dispensed', 'quarantined') OR site_id IS NOT NULL",
            name="at_a_site",
        ),
    )
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    list_id: Mapped[int] = to("list_file")
    blinded_lot_id: Mapped[int] = to("blinded_lot")
    position: Mapped[int]
    number: Mapped[str] = mapped_column(String(20))
    record: Mapped[Ciphertext]
    state: Mapped[str] = mapped_column(String(20))
    depot_id: Mapped[int | None] = to("depot")
    site_id: Mapped[int | None] = to("site")
    shipment_id: Mapped[int | None] = to("shipment", index=True)
    subject_id: Mapped[int | None] = to("subject", index=True)
    visit: Mapped[str | None] = mapped_column(String(40))
    moves: Mapped[int] = mapped_column(default=0)
    lot: Mapped[BlindedLot] = relationship()
    list: Mapped[ListFile] = relationship()


class KitMove(Base):
    """A row of the kit ledger: one move of one kit, in order, never changed."""

    __tablename__ = "kit_move"
    __table_args__ = (UniqueConstraint("kit_id", "sequence"),)
    id: Mapped[int] = key()
    kit_id: Mapped[int] = to("kit")
    sequence: Mapped[int]
    at: Mapped[datetime]
    move: Mapped[str] = mapped_column(String(40))
    from_state: Mapped[str] = mapped_column(String(20))
    to_state: Mapped[str] = mapped_column(String(20))
    depot_id: Mapped[int | None]
    site_id: Mapped[int | None]
    shipment_id: Mapped[int | None]
    subject_id: Mapped[int | None]
    visit: Mapped[str | None] = mapped_column(String(40))
    doer: Mapped[str]
    reason: Mapped[str]


class ShipmentKit(Base):
    """A kit of a shipment and how it arrived (`good`, `damaged`, `missing`, `excursion`)."""

    __tablename__ = "shipment_kit"
    __table_args__ = (
        UniqueConstraint("shipment_id", "kit_id"),
        one_of("outcome", "good", "damaged", "missing", "excursion"),
    )
    id: Mapped[int] = key()
    shipment_id: Mapped[int] = to("shipment")
    kit_id: Mapped[int] = to("kit", index=True)
    outcome: Mapped[str | None] = mapped_column(String(20))
    kit: Mapped[Kit] = relationship()


class Dispensing(Base):
    """A kit given to a subject for a visit: assigned by the system, then handed over and its number confirmed.

    A `replaced` kit was lost, damaged or had expired; one `put_back` was never handed
    over, and goes to nobody else: passing it on would tell that two subjects share an arm.
    """

    __tablename__ = "dispensing"
    __table_args__ = (
        UniqueConstraint("subject_id", "visit", "slot", "attempt"),
        Index(
            "uq_dispensing_live",
            "subject_id",
            "visit",
            "slot",
            unique=True,
            sqlite_where=text("state IN ('assigned', 'dispensed')"),
            postgresql_where=text("state IN ('assigned', 'dispensed')"),
        ),
        one_of("state", "assigned", "dispensed", "replaced", "put_back"),
    )
    id: Mapped[int] = key()
    subject_id: Mapped[int] = to("subject")
    visit: Mapped[str] = mapped_column(String(40))
    slot: Mapped[int]
    attempt: Mapped[int]
    kit_id: Mapped[int] = to("kit", unique=True)
    state: Mapped[str] = mapped_column(String(20))
    version_id: Mapped[int] = to("definition_version")
    assigned_at: Mapped[datetime]
    assigned_by: Mapped[str]
    window_reason: Mapped[str | None]
    dispensed_at: Mapped[datetime | None]
    dispensed_on: Mapped[date | None]
    dispensed_by: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    kit: Mapped[Kit] = relationship()
    subject: Mapped[Subject] = relationship()


class KitReturn(Base):
    """A kit that a subject brought back, and how many units were left in it; empty where the definition counts none.

    `number` counts from 1: a kit that was counted again has a further row, and the newest holds.
    """

    __tablename__ = "kit_return"
    __table_args__ = (
        UniqueConstraint("kit_id", "number"),
        CheckConstraint("units IS NULL OR units >= 0", name="units_counted"),
    )
    id: Mapped[int] = key()
    kit_id: Mapped[int] = to("kit")
    number: Mapped[int]
    dispensing_id: Mapped[int] = to("dispensing", index=True)
    units: Mapped[int | None]
    returned_on: Mapped[date]
    remark: Mapped[str]
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str]


class KitVerification(Base):
    """A monitor compared a kit with what the site has on paper. It holds as long as the kit's ledger has no more than
    `moves` rows: whatever is recorded later opens the verification again.
    """

    __tablename__ = "kit_verification"
    __table_args__ = (UniqueConstraint("kit_id", "moves"),)
    id: Mapped[int] = key()
    kit_id: Mapped[int] = to("kit")
    moves: Mapped[int]
    verified_at: Mapped[datetime]
    verified_by: Mapped[str]


class Destruction(Base):
    """Kits at one site or depot whose destruction was authorised by `document`, and later recorded by `certificate`."""

    __tablename__ = "destruction"
    __table_args__ = (
        UniqueConstraint("trial_id", "number"),
        CheckConstraint("(site_id IS NULL) <> (depot_id IS NULL)", name="at_one_place"),
        CheckConstraint(
            "(recorded_at IS NULL) = (recorded_by IS NULL) AND (recorded_at IS NULL) = (destroyed_on IS NULL)"
            " AND (recorded_at IS NULL) = (certificate IS NULL)",
            name="recorded_whole",
        ),
    )
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    number: Mapped[str] = mapped_column(String(20))
    site_id: Mapped[int | None] = to("site")
    depot_id: Mapped[int | None] = to("depot")
    document: Mapped[str]
    authorised_at: Mapped[datetime]
    authorised_by: Mapped[str]
    certificate: Mapped[str | None]
    destroyed_on: Mapped[date | None]
    recorded_at: Mapped[datetime | None]
    recorded_by: Mapped[str | None]


class DestructionKit(Base):
    """A kit whose destruction was authorised."""

    __tablename__ = "destruction_kit"
    id: Mapped[int] = key()
    destruction_id: Mapped[int] = to("destruction", index=True)
    kit_id: Mapped[int] = to("kit", unique=True)
    kit: Mapped[Kit] = relationship()


class TemperatureRecord(Base):
    """The readings of a logger that kits of a site were beside, on the way (`shipment_id`) or on its shelf.

    `readings` is the text of rts.supply.temperature; `file_digest` the SHA-256 of the file that was sent, which is not
    kept. They are judged by the storage range of the version of the definition that was in force then.
    """

    __tablename__ = "temperature_record"
    __table_args__ = (UniqueConstraint("trial_id", "number"),)
    id: Mapped[int] = key()
    trial_id: Mapped[int] = to("trial")
    number: Mapped[str] = mapped_column(String(20))
    site_id: Mapped[int] = to("site", index=True)
    shipment_id: Mapped[int | None] = to("shipment", index=True)
    version_id: Mapped[int] = to("definition_version")
    file_digest: Mapped[str] = mapped_column(String(64))
    readings: Mapped[str]
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str]


class KitExposure(Base):
    """A kit that was beside a logger, from `since` on (when it came to the shelf); empty: from the first reading.
    `moves` is how many rows its ledger had then, a quarantine because of this record among them.
    """

    __tablename__ = "kit_exposure"
    __table_args__ = (UniqueConstraint("record_id", "kit_id"),)
    id: Mapped[int] = key()
    record_id: Mapped[int] = to("temperature_record")
    kit_id: Mapped[int] = to("kit", index=True)
    since: Mapped[datetime | None]
    moves: Mapped[int]


class ResupplyRecord(Base):
    """What the night run saw and decided for one site on one date, sealed whole at a constant size."""

    __tablename__ = "resupply_record"
    __table_args__ = (UniqueConstraint("site_id", "run_date"),)
    id: Mapped[int] = key()
    site_id: Mapped[int] = to("site")
    run_date: Mapped[date]
    record_box: Mapped[Ciphertext]
    at: Mapped[datetime]


# --- jobs and notices ----------------------------------------------------------------------------------------------


class JobRun(Base):
    """One run of a scheduled job, of a trial or depot where it is theirs, for the moment it was due."""

    __tablename__ = "job_run"
    __table_args__ = (Index(None, "job", "scheduled_for"), one_of("outcome", "running", "done", "failed"))
    id: Mapped[int] = key()
    job: Mapped[str] = mapped_column(String(40))
    trial_id: Mapped[int | None] = to("trial")
    depot_id: Mapped[int | None] = to("depot")
    scheduled_for: Mapped[datetime]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(10))
    message: Mapped[str]


class Notice(Base):
    """The outbox: a mail written in the deed's transaction and sent afterwards."""

    __tablename__ = "notice"
    __table_args__ = (Index(None, "sent_at", "next_attempt_at"),)
    id: Mapped[int] = key()
    trial_id: Mapped[int | None] = to("trial")
    kind: Mapped[str] = mapped_column(String(40))
    message_id: Mapped[str] = mapped_column(String(80), unique=True)
    person_id: Mapped[int] = to("person")
    subject_line: Mapped[str]
    body: Mapped[str]
    written_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    person: Mapped[Person] = relationship()


# --- the audit trail -----------------------------------------------------------------------------------------------


class AuditChain(Base):
    """The head of a chain: one per trial, and one (`trial_id` NULL) for the installation."""

    __tablename__ = "audit_chain"
    id: Mapped[int] = key()
    chain_id: Mapped[str] = mapped_column(String(32), unique=True)
    trial_id: Mapped[int | None] = to("trial", unique=True)
    count: Mapped[int] = mapped_column(default=0)
    hash: Mapped[Digest]
    last_at: Mapped[str] = mapped_column(String(27))


class AuditEvent(Base):
    """An event of a chain; the columns up to `software` are what its hash covers (rts.store.audit)."""

    __tablename__ = "audit_event"
    __table_args__ = (
        UniqueConstraint("chain_id", "number"),
        Index(None, "chain_id", "at"),
        Index(None, "chain_id", "site_id", "number"),
    )
    id: Mapped[int] = key()
    chain_id: Mapped[int] = to("audit_chain")
    number: Mapped[int]
    at: Mapped[str] = mapped_column(String(27))
    actor: Mapped[str] = mapped_column(String(120))
    role: Mapped[str] = mapped_column(String(40))
    organisation: Mapped[str]
    action: Mapped[str] = mapped_column(String(60))
    object_type: Mapped[str] = mapped_column(String(40))
    object_id: Mapped[str] = mapped_column(String(120))
    detail_digest: Mapped[Digest]
    definition: Mapped[int | None]
    software: Mapped[str] = mapped_column(String(20))
    hash: Mapped[Digest]
    site_id: Mapped[int | None]


class AuditDetail(Base):
    """The detail of an event: plain with its salt, or sealed with the salt inside."""

    __tablename__ = "audit_detail"
    __table_args__ = (
        CheckConstraint(
            "(salt IS NULL) = (detail IS NULL) AND (detail IS NULL) <> (detail_box IS NULL)", name="plain_or_sealed"
        ),
    )
    event_id: Mapped[int] = mapped_column(ForeignKey("audit_event.id"), primary_key=True)
    salt: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str | None]
    detail_box: Mapped[Ciphertext | None]


class AuditMention(Base):
    """Which subjects, kits and shipments an event speaks of, for filtering the trail."""

    __tablename__ = "audit_mention"
    __table_args__ = (Index(None, "kind", "code"),)
    event_id: Mapped[int] = mapped_column(ForeignKey("audit_event.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    code: Mapped[str] = mapped_column(String(120), primary_key=True)


class AuditCheckpoint(Base):
    """A signed checkpoint of a chain (evidence of its length and hash at a time)."""

    __tablename__ = "audit_checkpoint"
    id: Mapped[int] = key()
    chain_id: Mapped[int] = to("audit_chain")
    count: Mapped[int]
    text: Mapped[HidingText]
    made_at: Mapped[datetime]
