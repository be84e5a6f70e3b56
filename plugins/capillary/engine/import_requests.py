"""A ledger behind the platform learns what it has forgotten: a restored backup, an emptied ledger.

A key ends in the hash of spec, occasion, attempt and customers. The platform echoes the customers; spec and occasion
come from the campaigns and from what the ledger still knows. Where they give the same hash, it is proven what the
request was, and it is written back. The campaign's name in the key proves nothing: it only says which of several
campaigns of one occasion comes first. Nothing is guessed: what nobody can prove stays named, and submitting stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from capillary.api.client import Client
from capillary.api.request_workflow import RequestState, WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.engine.keyless import Keyless, shows_customers_alone, take_keyless
from capillary.engine.lean_list import is_dark, look_behind
from capillary.engine.platform_list import read_every_type
from capillary.engine.runtime import Runtime
from capillary.engine.sightings import held_rows, record_rows, seen_in
from capillary.engine.unreadable_rows import is_through
from capillary.engine.watch import cluster_day
from capillary.ledger import history, scans, unknown_keys
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.holders import holders
from capillary.ledger.import_requests import Candidate, Forgotten, adopt, known_candidates
from capillary.ledger.sightings import keys_seen
from capillary.ledger.spec import KEY_PREFIX, carries, content_hash, has_our_form, hash_in, readable
from capillary.ledger.unknown_keys import UnknownKey

#: Attempts that are tried when a key is proven.
MAX_ATTEMPT: Final = 10


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought.

    Attributes:
        requests, customers: written back.
        unproven: keys that no candidate gives.
        clashing: keys whose customers stand in another request of the occasion.
        elsewhere: keys that this ledger holds under another account, each with that account.
        whole: the list was read to its end.
        hidden: platform request ids of rows that show neither a key nor customers, and may be anybody's.
        of_other_users: keys that other credential users were shown, and that the ledger still does not know.
        found: requests of this ledger that the platform shows without their key, told by badge and customers.
        keyless: platform request ids of rows without a key that hold customers of ours: they may be ours.
        not_shown: keys that stop submitting, since this user was shown them, and that the list does not show now,
            against a person's word that nothing is older.
    """

    requests: int
    customers: int
    unproven: tuple[str, ...]
    clashing: tuple[str, ...]
    elsewhere: tuple[tuple[str, str], ...]
    whole: bool
    hidden: tuple[str, ...]
    of_other_users: tuple[UnknownKey, ...]
    found: int = 0
    keyless: tuple[str, ...] = ()
    not_shown: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the ledger knows everything of ours again that this credential user is shown."""
        left = self.hidden or self.keyless or self.unproven or self.clashing or self.elsewhere or self.not_shown
        return self.whole and not left


async def import_forgotten(
    ledger: Ledger,
    client: Client,
    runtime: Runtime,
    *,
    since: date,
    nothing_is_older: bool = False,
    candidates: Iterable[Candidate],
    run_id: str,
    capillary_conn_id: str,
) -> Imported:
    """Write back what the platform's list shows of ours and the ledger does not know.

    Args:
        ledger: the ledger.
        client: the platform.
        runtime: time and threads.
        since: first day of the list, in the cluster's time zone.
        nothing_is_older: a person says that no request of ours is older. Without that word a ledger whose first
            reading goes farther back has the list read again before anything is sent.
        candidates: what requests may have been planned as, beside what the ledger still knows.
        run_id: names this import in `badge_run`.
        capillary_conn_id: the connection with which the requests are watched from now on.

    Raises:
        PlatformUnavailable, ReplyUnreadable, CallRefused: the list could not be read; what was written stays.
        OccasionTaken: a request's occasion belongs to another badge in this ledger.
        OrganisationElsewhere: the ledger knows the organisation under another address.
    """
    account = client.settings.account
    now, of_ledger = await runtime.ledger_call(lambda: _known_candidates(ledger, account))
    known = [*candidates, *of_ledger]
    adopted: list[int] = []
    unproven, clashing = [], []
    elsewhere: dict[str, str] = {}
    hidden: list[str] = []
    without_key: dict[str, WorkflowRequest] = {}
    shown_names: set[str] = set()

    def take(rows: tuple[WorkflowRequest, ...]) -> None:
        shown_names.update(name for row in rows for name in (row.platform_request_id, row.request_key) if name)
        without_key.update({row.platform_request_id: row for row in rows if shows_customers_alone(row)})
        dark = {row.platform_request_id for row in rows if is_dark(row)}
        with ledger.write() as tx:
            hidden.extend(dark - keys_seen(tx, dark).keys() - scans.are_not_ours(tx, account, dark))
            unknown, others = _unknown_rows(tx, account, rows)
            elsewhere.update(others)
            for row in unknown:
                key = row.request_key or ""
                proven = _proven(row, known, tx)
                if proven is None:
                    # What was rejected enrolled nobody, and never will.
                    unproven.extend([key] if row.state != RequestState.REJECTED else [])
                elif adopt(tx, proven, run_id=run_id, capillary_conn_id=capillary_conn_id):
                    clashing.append(key)
                else:
                    adopted.append(len(proven.customers))
            record_rows(tx, account, client.settings.sender, rows)

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        shown = await look_behind(ledger, client, runtime, rows, without_key=True)
        await runtime.ledger_call(lambda: take(shown))

    today = cluster_day(now, client.settings)
    days = await read_every_type(client, since=since, today=today, on_page=on_page)

    def judge_keyless() -> Keyless:
        with ledger.write() as tx:
            return take_keyless(tx, account, client.settings.sender, without_key.values())

    keyless = await runtime.ledger_call(judge_keyless)
    unknown = await runtime.ledger_call(lambda: _still_unknown(ledger, account))
    imported = Imported(
        requests=len(adopted),
        customers=sum(adopted),
        unproven=tuple(unproven),
        clashing=tuple(clashing),
        elsewhere=tuple(elsewhere.items()),
        whole=await is_through(ledger, runtime, account, days.read) and not (days.refused or days.unanswered),
        hidden=tuple(hidden),
        of_other_users=tuple(each for each in unknown if each.sender != client.settings.sender),
        not_shown=_not_shown(unknown, client.settings, shown_names) if nothing_is_older else (),
        found=keyless.found,
        keyless=keyless.held,
    )
    if imported.is_complete:
        await runtime.ledger_call(lambda: _clear(ledger, client.settings, since, nothing_is_older=nothing_is_older))
    else:
        await runtime.ledger_call(lambda: _reach_back_to(ledger, client.settings, since))
    return imported


def _unknown_rows(
    tx: Transaction, account: str, rows: Iterable[WorkflowRequest]
) -> tuple[list[WorkflowRequest], dict[str, str]]:
    """Return the rows of ours that the ledger does not hold, one of each key; and keys of another account, with it.

    Of twins one that is live is returned; what a person called somebody else's is left out.
    """
    rejected_first = sorted(rows, key=lambda row: row.state != RequestState.REJECTED)
    ours = {row.request_key: row for row in rejected_first if has_our_form(row.request_key)}
    held = holders(tx, [key for key in ours if key])
    others = {key: holder.account for key, holder in held.items() if holder.account != account}
    known = {*held, *scans.are_not_ours(tx, account, [key for key in ours if key])}
    # What the platform shows under an altered key may stand in the ledger under its own.
    shown = held_rows(tx, account, ours.values())
    known.update(key for key, row in ours.items() if key and row.platform_request_id in shown)
    return [row for key, row in ours.items() if key not in known], others


def _proven(row: WorkflowRequest, candidates: list[Candidate], tx: Transaction) -> Forgotten | None:
    # Every key of ours prints, and so does every key in the ledger's own sentences.
    if row.customers is None or row.request_key is None or not row.request_key.isprintable():
        return None
    customers = sorted(row.customers)  # as they are sent, whatever order the echo keeps
    named = row.request_key.removeprefix(KEY_PREFIX).rpartition(".")[0]
    of_badge = [candidate for candidate in candidates if candidate.spec.badge_id == row.badge_id]
    by_content: dict[tuple[str, str], Candidate] = {}
    # A copy of a campaign gives the same hash: the one whose name the key carries comes first.
    for candidate in sorted(of_badge, key=lambda each: readable(each.campaign) != named):
        by_content.setdefault((candidate.spec.fingerprint(), candidate.occasion), candidate)
    # First attempts first: most are, and a hash of every customer is made for each.
    for attempt in range(1, MAX_ATTEMPT + 1):
        for content, candidate in by_content.items():
            proven = content_hash(*content, attempt, customers)
            key = f"{KEY_PREFIX}{readable(candidate.campaign)}.{proven}"
            if carries(row.request_key, key):
                return Forgotten(
                    key=row.request_key if hash_in(row.request_key) == proven else key,
                    campaign=candidate.campaign,
                    occasion=candidate.occasion,
                    spec=candidate.spec,
                    attempt=attempt,
                    customers=customers,
                    seen=seen_in(row),
                    # A send in the future would have every reading of the list begin after it.
                    sent_at=min(row.created_at or tx.now, tx.now),
                )
    return None


def _known_candidates(ledger: Ledger, account: str) -> tuple[datetime, list[Candidate]]:
    with ledger.read() as tx:
        return tx.now, known_candidates(tx, account)


def _still_unknown(ledger: Ledger, account: str) -> tuple[UnknownKey, ...]:
    """Let the keys go that the ledger knows by now, and return those that are left."""
    with ledger.write() as tx:
        unknown_keys.drop_known(tx, account)
        return unknown_keys.unknown_keys(tx, account)


def _not_shown(
    unknown: Iterable[UnknownKey], settings: PlatformSettings, shown_names: Collection[str]
) -> tuple[str, ...]:
    shown = {unknown_keys.as_kept(name) for name in shown_names}
    return tuple(each.key for each in unknown if each.sender == settings.sender and each.key not in shown)


def _reach_back_to(ledger: Ledger, settings: PlatformSettings, since: date) -> None:
    """Requests of ours since a day are unknown: a reading that begins later would not show them, and let them go."""
    with ledger.write() as tx:
        history.reach_back_to(tx, settings.account, settings.sender, since)


def _clear(ledger: Ledger, settings: PlatformSettings, since: date, *, nothing_is_older: bool) -> None:
    """All that this credential user is shown since a day is known: let its keys go, or have it read the rest."""
    account, sender = settings.account, settings.sender
    with ledger.write() as tx:
        first_day = history.history(tx, account, sender).first_day
        if nothing_is_older:
            unknown_keys.clear(tx, account, sender)
            history.take_as_read(tx, account, sender, since=since)
        elif first_day is not None and since <= first_day:
            unknown_keys.clear(tx, account, sender)
        else:
            history.read_again(tx, account, sender)  # what is older than the import may be unknown
