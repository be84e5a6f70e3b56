"""Contender: dlt with a custom destination, in an environment of its own.

Written from the pages "Custom destination: Reverse ETL" of dlthub.com/docs (the decorator; a failed run is run
again and goes on with the batch that failed) and "Requests helper" (the client that dlt recommends for APIs: it
tries again on 5xx, 429 and lost connections).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import dlt  # type: ignore[import-not-found] # in the contender's own environment alone
from dlt.sources.helpers import requests  # type: ignore[import-not-found] # as above

from measure.faults.request_body import CUSTOMERS_PER_REQUEST, ENDPOINT, body, customers, headers


@dlt.destination(batch_size=CUSTOMERS_PER_REQUEST, name="badges")  # type: ignore[untyped-decorator] # as above
def badges(items: list[dict[str, Any]], _table: dict[str, Any]) -> None:
    """Submit one batch as one request; dlt's client raises what is no success."""
    ids = [item["customer_id"] for item in items]
    requests.post(os.environ["PLATFORM"] + ENDPOINT, json=body(ids), headers=headers())


@dlt.resource(name="vip")  # type: ignore[untyped-decorator] # as above
def vip() -> Iterator[dict[str, int]]:
    """Read the customers from the warehouse."""
    for customer in customers():
        yield {"customer_id": customer}


def main() -> None:
    """Submit everybody."""
    pipeline = dlt.pipeline("badges", destination=badges)
    sys.stdout.write(f"{pipeline.run(vip())}\n")


if __name__ == "__main__":
    main()
