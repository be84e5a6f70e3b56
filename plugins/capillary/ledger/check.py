"""The whole ledger held against itself: every rule that its rows must keep, by SQL that reads all of them.

It is read in one look (:meth:`capillary.ledger.database.Ledger.read`), so tasks may go on in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, text

from capillary.counted import counted
from capillary.ledger.database import Transaction

#: Faults of one rule that are named one by one; of more, only the number is told.
NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must hold.

    Attributes:
        sql: finds the rows that break it; none is right.
        words: what is wrong with one of them, without customer ids.
    """

    sql: str
    words: Callable[[Row[tuple[object, ...]]], str]


def faults(tx: Transaction) -> tuple[str, ...]:
    """Return what is wrong with the ledger, one sentence for each fault; nothing where all rules hold.

    Of each rule at most 20 faults are named (:data:`NAMED`), then their number. Reads every enrolment: minutes for
    tens of millions.
    """
    return tuple(sentence for rule in RULES for sentence in _broken(tx, rule))


def _broken(tx: Transaction, rule: Rule) -> Iterator[str]:
    found = 0
    for row in tx.conn.execute(text(rule.sql)):
        found += 1
        if found <= NAMED:
            yield rule.words(row)
    if found > NAMED:
        yield f"… and {found - NAMED} more of this kind"


def _ending(row: Row[tuple[object, ...]]) -> str:
    return f"{row.outcome}, code {row.error_code}" if row.error_code is not None else f"{row.outcome}, no code"


#: Every rule. SUM is cast, since PostgreSQL adds whole numbers up to a decimal one.
RULES: Final = (
    Rule(
        "SELECT badge_run_id, dag_id, run_id, eligible, planned, "
        "invalid + duplicates + known_before + over_cap + planned AS read, "
        "enrolled + already_enrolled + unconfirmed + failed + rejected + not_accepted + open + discarded AS accounted "
        "FROM badge_funnel WHERE eligible <> invalid + duplicates + known_before + over_cap + planned OR planned <> "
        "enrolled + already_enrolled + unconfirmed + failed + rejected + not_accepted + open + discarded "
        "ORDER BY badge_run_id",
        lambda row: (
            f"plan {row.badge_run_id} ({row.dag_id}, {row.run_id}) does not add up: "
            f"{counted(row.eligible, 'row')} of its query, {row.read} accounted for; "
            f"{counted(row.planned, 'customer')} planned, {row.accounted} accounted for"
        ),
    ),
    Rule(
        "SELECT q.request_key, k.outcome, k.error_code, CAST(SUM(k.kept) AS BIGINT) AS kept, "
        "CAST(SUM(k.held) AS BIGINT) AS held FROM ("
        "SELECT request_id, outcome, error_code, customers - without_row AS kept, 0 AS held FROM badge_result "
        "UNION ALL "
        "SELECT request_id, outcome, error_code, 0, COUNT(*) FROM badge_enrolment WHERE outcome IS NOT NULL "
        "GROUP BY request_id, outcome, error_code"
        ") k JOIN badge_request q ON q.id = k.request_id "
        "GROUP BY k.request_id, q.request_key, k.outcome, k.error_code HAVING SUM(k.kept) <> SUM(k.held) "
        "ORDER BY q.request_key, k.outcome, k.error_code",
        lambda row: (
            f"request {row.request_key}: {counted(row.kept, 'customer', 'with a row is', 'with a row are')} counted as "
            f"{_ending(row)}, {counted(row.held, 'row', 'says', 'say')} so"
        ),
    ),
    Rule(
        "SELECT q.request_key, r.outcome, r.error_code, COUNT(*) AS lines FROM badge_result r "
        "JOIN badge_request q ON q.id = r.request_id "
        "GROUP BY r.request_id, q.request_key, r.outcome, r.error_code HAVING COUNT(*) > 1 "
        "ORDER BY q.request_key, r.outcome",
        lambda row: f"request {row.request_key}: {_ending(row)} is counted in {counted(row.lines, 'line')}, not in one",
    ),
    Rule(
        "SELECT q.request_key, q.customers, COALESCE(e.held, 0) AS held, COALESCE(w.gone, 0) AS gone "
        "FROM badge_request q "
        "LEFT JOIN (SELECT request_id, COUNT(*) AS held FROM badge_enrolment GROUP BY request_id) e "
        "ON e.request_id = q.id "
        "LEFT JOIN (SELECT request_id, SUM(without_row) AS gone FROM badge_result GROUP BY request_id) w "
        "ON w.request_id = q.id "
        "WHERE q.customers <> COALESCE(e.held, 0) + COALESCE(w.gone, 0) ORDER BY q.id",
        lambda row: (
            f"request {row.request_key} holds {counted(row.customers, 'customer')}: {row.held} with a row, "
            f"{row.gone} counted without"
        ),
    ),
    Rule(
        "SELECT q.request_key, q.status, q.customers, COALESCE(c.counted, 0) AS counted FROM badge_request q "
        "LEFT JOIN (SELECT request_id, SUM(customers) AS counted FROM badge_result GROUP BY request_id) c "
        "ON c.request_id = q.id "
        # A request that is seen again after it was settled waits with the counts that it had, which are of all.
        "WHERE NOT ((q.status IN ('settled', 'waiting') AND COALESCE(c.counted, 0) = q.customers) "
        "OR (q.status <> 'settled' AND c.counted IS NULL)) ORDER BY q.id",
        lambda row: (
            f"request {row.request_key} is {row.status}, "
            f"with {row.counted} of its {counted(row.customers, 'customer')} counted"
        ),
    ),
    Rule(
        "SELECT q.request_key, COUNT(*) AS strays FROM badge_enrolment e JOIN badge_request q ON q.id = e.request_id "
        "WHERE e.occasion_id <> q.occasion_id OR e.attempt <> q.attempt GROUP BY q.id, q.request_key ORDER BY q.id",
        lambda row: (
            f"request {row.request_key}: {row.strays} of its customers stand under another occasion or attempt than it"
        ),
    ),
    Rule(
        # Not `outcome IS NULL`, which the unique index would answer: a damaged one must not answer for itself.
        "SELECT o.occasion, COUNT(*) AS twice FROM ("
        "SELECT occasion_id, customer_id FROM badge_enrolment WHERE COALESCE(outcome, '') = '' "
        "GROUP BY occasion_id, customer_id HAVING COUNT(*) > 1"
        ") d JOIN badge_occasion o ON o.id = d.occasion_id GROUP BY o.id, o.occasion ORDER BY o.id",
        lambda row: (
            f"occasion {row.occasion}: {counted(row.twice, 'customer', 'is', 'are')} open in more than one request"
        ),
    ),
)
