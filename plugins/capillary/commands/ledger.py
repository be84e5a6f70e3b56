"""What the commands of the ledger do that a person gives their word for: a new ledger, a key that is not ours."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Final

from sqlalchemy import URL

from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import UNREADABLE_ROW
from capillary.api.settings import PlatformSettings
from capillary.engine.watch import cluster_day
from capillary.errors import TerminalError
from capillary.ledger import history, scans, unknown_keys
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.doubts import is_named_by_a_doubt
from capillary.ledger.holders import is_held
from capillary.ledger.migrate import create
from capillary.ledger.spec import KEY_PREFIX, has_our_form

#: Characters of a name that are kept beside a person's word.
_NAME_LIMIT: Final = 200


class KeyRefused(TerminalError):
    """A key, or a platform request id, that nobody can say of that it is not ours."""


def create_ledger(url: str | URL, *, new_organisation_of: str | None) -> str:
    """Make the ledger's tables where there are none, and say what was done.

    Args:
        url: the ledger's database; a SQLite file is made where there is none.
        new_organisation_of: connection of an account on whose platform no request of ours can stand: its first
            reading is left out. None: every account's list is read before anything is sent.

    Raises:
        SchemaBehind: a ledger stands there that this code does not know, or has to migrate before such a word.
        ConnectionMissing, SettingsInvalid: the platform's connection cannot be used; nothing was made.
    """
    settings = None if new_organisation_of is None else _settings(new_organisation_of)
    with Ledger(url, new=True) as ledger:
        is_new, revision = create(ledger.engine)
    said = f"created at {revision}" if is_new else f"there already, at {revision}; nothing was created"
    if settings is None:
        return said
    with Ledger(url) as ledger:
        return f"{said}; {_take_as_new(ledger, settings)}"


def note_not_ours(ledger: Ledger, keys: Sequence[str], *, capillary_conn_id: str) -> str:
    """Write down a person's word that requests of these keys are somebody else's, and say what follows.

    A platform request id may stand for a key, where a request in doubt names it as one that it may be.

    Raises:
        KeyRefused: one of them is not a key of our form and named by no doubt, or the ledger holds its request; nothing
            was written.
        ConnectionMissing, SettingsInvalid: the platform's connection cannot be used.
    """
    settings = _settings(capillary_conn_id)
    account = settings.account
    with ledger.write() as tx:
        holds_doubt = False
        for key in keys:
            holds_doubt |= _assert_may_be_foreign(tx, account, key)
            scans.note_not_ours(tx, account, key, by=_who())
        noted = f"noted for {account}: {', '.join(map(on_one_line, keys))}"
        before = unknown_keys.unknown_keys(tx, account)
        unknown_keys.drop_known(tx, account)
        left = unknown_keys.unknown_keys(tx, account)
        if left:
            return f"{noted}. Submitting stays stopped by {on_one_line(left[0].key)}"
        if not before:
            said = "The next reading judges what is in doubt without them" if holds_doubt else ""
            return f"{noted}. {said or 'Nothing was stopped by them'}"
        for sender in {each.sender for each in before}:
            history.read_again(tx, account, sender)
        return (
            f"{noted}. The next submit reads the whole list again before it sends, and goes on where nothing else of "
            "ours is unknown"
        )


def _take_as_new(ledger: Ledger, settings: PlatformSettings) -> str:
    account, sender = settings.account, settings.sender
    with ledger.write() as tx:
        if history.history(tx, account, sender).read_at is not None:
            return f"the list of {account} has been read already"
        history.take_as_read(tx, account, sender, since=cluster_day(tx.now, settings))
        return f"{account} is treated as new, as you say: it has no request of ours, and its list is not read back"


def _assert_may_be_foreign(tx: Transaction, account: str, key: str) -> bool:
    """Assert that it may be somebody else's; return whether a request in doubt is held by it."""
    holds_doubt = is_named_by_a_doubt(tx, key)
    stops_now = any(each.key == key for each in unknown_keys.unknown_keys(tx, account))
    is_known_form = has_our_form(key) or key.startswith((KEY_PREFIX, UNREADABLE_ROW))
    if not is_known_form and not stops_now and not holds_doubt:
        raise KeyRefused(
            f"{on_one_line(key)} is not a key that could be ours, and does not stop sending: ours begin "
            f"with {KEY_PREFIX}. For a request that shows no key, give its platform request id"
        )
    if is_held(tx, key):
        raise KeyRefused(f"{on_one_line(key)} is a request of this ledger, and so it is ours: see it in badge_request")
    return holds_doubt


def _who() -> str:
    try:
        return getpass.getuser()[:_NAME_LIMIT]
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _settings(capillary_conn_id: str) -> PlatformSettings:
    from capillary.hooks import CapillaryHook  # noqa: PLC0415 - Airflow costs seconds, and --url alone needs none of it

    settings: PlatformSettings = CapillaryHook(capillary_conn_id).get_settings()
    return settings
