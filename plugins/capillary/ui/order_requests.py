"""In how many requests the customers of an order come to the checker, as far as the ledger knows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from capillary.counted import counted
from capillary.ledger.left_over import LeftNow
from capillary.ledger.plan import CANARY_CUSTOMERS
from capillary.ledger.retryable import Retryable
from capillary.ui.airflow_facts import CampaignDag

#: Said of a run under a configuration that is not proven.
A_CANARY: Final = (
    f"It is a canary, since the configuration is not proven: it takes at most {CANARY_CUSTOMERS} customers."
)


def together(taken: Sequence[Retryable], on_occasion: Iterable[Retryable], left: LeftNow | None) -> Counter[int]:
    """Return the known customers of a retry by the number of their last attempt, those who come along with it, too."""
    customers = Counter[int]({0: left.customers} if left is not None else {})
    for each in on_occasion:
        customers.update(each.by_attempt if each in taken else each.by_itself_by_attempt)
    return +customers


def new_requests(dag: CampaignDag, by_attempt: Mapping[int, int], *, is_canary: bool) -> str:
    """Say how many requests so many customers come to: a request holds customers of one attempt alone."""
    size, attempts = dag.customers_per_request, len(by_attempt)
    if size is None or not attempts:
        return "The checker gets new requests to decide."
    requests = sum(-(-customers // size) for customers in by_attempt.values())
    cap = min([each for each in (dag.customer_cap, CANARY_CUSTOMERS if is_canary else None) if each is not None] or [0])
    if cap:  # the first request of an attempt needs one customer, and each further one a full request before it
        requests = min(requests, cap if cap < attempts else attempts + (cap - attempts) // size)
    return f"The checker gets at most {counted(requests, 'new request')} to decide."


def most(dag: CampaignDag, customers: int, *, is_canary: bool) -> int:
    """Return how many of so many customers one run of the campaign takes at most."""
    caps = (dag.customer_cap, CANARY_CUSTOMERS if is_canary else None)
    return min([customers, *(each for each in caps if each is not None)])


def approvals(dag: CampaignDag, customers: int, *, is_canary: bool) -> str:
    """Say in how many requests so many customers come to the checker."""
    if dag.customers_per_request is None:
        return "The checker has to decide its requests."
    taken = most(dag, customers, is_canary=is_canary)
    capped = f" of at most {counted(taken, 'customer')}" if taken < customers else ""
    requests = -(-taken // dag.customers_per_request)
    each = "it" if requests == 1 else "each of them"
    return (
        f"That makes {counted(requests, 'request')}{capped}, as far as the query returns the same customers. The "
        f"checker has to decide {each}."
    )
