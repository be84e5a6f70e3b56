"""What a campaign is, and the DAG that it makes.

In reading order:

- ``model``: `BadgeCampaign`
- ``errors``: what is wrong with one
- ``fields``: what each field takes
- ``field_types``: types that operators and the trigger form share
- ``dag_arguments``: what is handed on to Airflow's DAG
- ``sql_file``: the query's text
- ``schedule``: when it runs
- ``first_run``: what starts when its DAG is turned on
- ``occasion``: how often a customer may get the badge
- ``trigger_form``: what a person tells one run
- ``dag``: the four tasks
"""

from capillary.api.request_workflow import Entity
from capillary.campaign.errors import CampaignInvalid, TriggerFormInvalid
from capillary.campaign.model import BadgeCampaign
from capillary.campaign.trigger_form import TriggerForm
from capillary.engine.verdict import OnFinding, Policy
from capillary.ledger.guards import Guards

__all__ = [
    "BadgeCampaign",
    "CampaignInvalid",
    "Entity",
    "Guards",
    "OnFinding",
    "Policy",
    "TriggerForm",
    "TriggerFormInvalid",
]
