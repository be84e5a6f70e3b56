"""Contender: an Airflow DAG made of the HTTP provider's own parts.

Written from the pages "HTTP Operators" and "Dynamic Task Mapping" of airflow.apache.org, whose example DAG has
`retries` of 1, too. The delay before a retry is a second in place of five minutes, so that nobody waits.
"""

from __future__ import annotations

import json
from datetime import timedelta

import requests
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from measure.faults.request_body import ENDPOINT, body, headers, slices


def is_approved(response: requests.Response) -> bool:
    """Whether the checker has approved the request and it was executed."""
    state = response.json()["data"]["state"]
    if state in {"rejected", "failed"}:
        raise AirflowFailException(f"the request ended {state}")
    return bool(state == "approved")


with DAG(
    dag_id="stock_badges",
    schedule=None,
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1), "http_conn_id": "platform"},
) as dag:

    @task
    def bodies() -> list[str]:
        """Return the body of every request."""
        return [json.dumps(body(ids)) for ids in slices()]

    submit = HttpOperator.partial(
        task_id="submit",
        endpoint=ENDPOINT,
        headers=headers(),
        response_filter=lambda response: response.json()["data"]["requestId"],
    ).expand(data=bodies())

    HttpSensor.partial(
        task_id="wait", headers=headers(), response_check=is_approved, poke_interval=1, timeout=600
    ).expand(endpoint=submit.output.map(lambda request_id: f"/api_gateway/v2/request-workflow/requests/{request_id}"))
