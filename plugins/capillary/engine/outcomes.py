"""What a decided request says of every customer. Pure: a reading of one reply, and the fold of several.

What each outcome needs: docs/design.md, I3, and docs/api.md. Customers of a request that was sent three times and never
found end as ``unconfirmed``, too: that is `doubt`, and `give_up` of the ledger's `request_rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from capillary.api.badges import BulkItem, Execution
from capillary.api.codes import ALREADY, CALL_REFUSALS, LINE_REFUSALS, SAYS_NOTHING
from capillary.api.request_workflow import RequestState, WorkflowRequest, is_decided
from capillary.ledger.bounds import code_kept
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome

#: First HTTP status of the server's own failures.
_SERVER_ERROR: Final = 500
#: What the ledger's column holds; PostgreSQL refuses the whole request for one value beyond it.
_MAX_ISSUED_ID: Final = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request says. Settle only a reading that is neither incomplete nor of another echo.

    `by_customer` holds every customer of the request, or is empty when `incomplete` or `echo_differs`.
    `incomplete`: undecided, or decided without the wrapped call's output so far.
    `echo_differs`: the platform shows other customers under our key than the ledger holds.
    """

    by_customer: Mapping[int, Ending] = field(repr=False)
    incomplete: bool = False
    echo_differs: bool = False


def read_outcomes(request: WorkflowRequest, customers: Sequence[int], *, give_up: bool = False) -> Reading:
    """Return the outcome of each of `customers`, which are the ledger's for this request's key.

    `give_up`: the output of a decided request has been waited for long enough (15 minutes); without output
    everybody is then unconfirmed. An undecided request stays incomplete whatever `give_up` says.

    A customer is `enrolled` only by a line without error, with an issued id, and no status but ACTIVE; `failed` only
    by a code that refuses an enrolment (`capillary.api.codes`), and never beside an issued id.
    """
    if request.customers is not None and set(request.customers) != set(customers):
        return Reading({}, echo_differs=True)
    if not is_decided(request.state):
        return Reading({}, incomplete=True)
    execution = request.execution
    if execution is not None and (execution.items or execution.unreadable_items):
        return Reading(_by_line(execution.items or (), customers))
    if request.state == RequestState.REJECTED:
        word = Ending(Outcome.REJECTED)
    elif execution is not None:
        word = _whole_call(execution, approved=request.state == RequestState.APPROVED)
    elif give_up:
        word = Ending(Outcome.UNCONFIRMED)
    else:
        return Reading({}, incomplete=True)
    return Reading(dict.fromkeys(customers, word))


def fold(readings: Sequence[Mapping[int, Ending]]) -> dict[int, Ending]:
    """Return each customer's strongest word among the readings of one key.

    enrolled > already_enrolled > unconfirmed > failed > rejected; error 809 is weaker than all of them. Among
    equals the first stays.
    """
    folded: dict[int, Ending] = {}
    for reading in readings:
        for customer, word in reading.items():
            known = folded.get(customer)
            if known is None or _strength(word) > _strength(known):
                folded[customer] = word
    return folded


_STRENGTH: Final[Mapping[Outcome, int]] = {
    Outcome.ENROLLED: 6,
    Outcome.ALREADY_ENROLLED: 5,
    Outcome.UNCONFIRMED: 4,
    Outcome.FAILED: 3,
    Outcome.REJECTED: 2,
    Outcome.NOT_ACCEPTED: 1,  # said when submitting; no reading holds it
}


def _strength(word: Ending) -> int:
    if word.outcome is Outcome.UNCONFIRMED and word.error_code == SAYS_NOTHING:
        return 0
    return _STRENGTH[word.outcome]


def _by_line(items: Iterable[BulkItem], customers: Sequence[int]) -> dict[int, Ending]:
    listed: dict[int, Ending] = {}
    for item in items:
        word = _line(item)
        if listed.setdefault(item.customer_id, word) != word:
            listed[item.customer_id] = _CONTRADICTED
    return {customer: listed.get(customer, _NOT_LISTED) for customer in customers}


_NOT_LISTED: Final = Ending(Outcome.UNCONFIRMED)
_CONTRADICTED: Final = Ending(Outcome.UNCONFIRMED)


def _line(item: BulkItem) -> Ending:
    if not item.failed:
        issued_id = item.issued_id
        if issued_id is not None and item.status in (None, "ACTIVE"):
            return Ending(Outcome.ENROLLED, issued_id=issued_id if len(issued_id) <= _MAX_ISSUED_ID else None)
        return Ending(Outcome.UNCONFIRMED)
    code = code_kept(item.error_code)
    if code == ALREADY:
        return Ending(Outcome.ALREADY_ENROLLED, error_code=code)
    is_refused = code in LINE_REFUSALS and item.issued_id is None
    return Ending(Outcome.FAILED if is_refused else Outcome.UNCONFIRMED, error_code=code)


def _whole_call(execution: Execution, *, approved: bool) -> Ending:
    """Read an answer without lines: `failed` only where all its codes are known to refuse the call.

    The body's code comes before the HTTP status: a `failed` request that names a code counts as refused even
    under HTTP 200, as the points redemption of `reference/approve-or-reject-a-request` shows. An `approved`
    one contradicts itself unless the wrapped call answered 4xx.
    """
    codes = execution.error_codes
    first = code_kept(codes[0]) if codes else None
    if SAYS_NOTHING in codes:
        return Ending(Outcome.UNCONFIRMED, error_code=SAYS_NOTHING)
    status = execution.http_status
    refusing = status is not None and 400 <= status < _SERVER_ERROR
    if not refusing and (approved or (status is not None and status >= _SERVER_ERROR)):
        return Ending(Outcome.UNCONFIRMED, error_code=first)
    is_refused = bool(codes) and CALL_REFUSALS.keys() >= set(codes)
    return Ending(Outcome.FAILED if is_refused else Outcome.UNCONFIRMED, error_code=first)
