"""Contender: a script with httpx, and tenacity for the retries.

Written from the pages "Exceptions" and "Transports" of python-httpx.org (a transport's own `retries` are for
connecting alone) and from tenacity's README ("Stopping", "Waiting before retrying", "Whether to retry").
"""

from __future__ import annotations

import os
import sys

import httpx
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential

from measure.faults.request_body import ENDPOINT, body, headers, slices


def passes(error: BaseException) -> bool:
    """Whether trying again may help: the network, 429, or the server's own fault."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.TOO_MANY_REQUESTS or error.response.is_server_error
    return isinstance(error, httpx.TransportError)


@retry(
    stop=stop_after_attempt(5),
    wait=wait_exponential(multiplier=0.5, max=10),
    retry=retry_if_exception(passes),
    reraise=True,
)
def submit(client: httpx.Client, ids: list[int]) -> str:
    """Submit one request and return the platform's id of it."""
    reply = client.post(ENDPOINT, json=body(ids))
    reply.raise_for_status()
    return str(reply.json()["data"]["requestId"])


def main() -> None:
    """Submit everybody."""
    with httpx.Client(base_url=os.environ["PLATFORM"], headers=headers(), timeout=60, trust_env=False) as client:
        submitted = [submit(client, ids) for ids in slices()]
    sys.stdout.write(f"{len(submitted)} requests submitted\n")


if __name__ == "__main__":
    main()
