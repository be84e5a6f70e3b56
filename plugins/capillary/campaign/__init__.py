"""What a campaign is, and the DAG that it makes.

In reading order:

- ``model``: `BadgeCampaign`
- ``fields``: what each field takes
- ``field_types``: types that operators and the trigger form share
- ``dag_arguments``: what is handed on to Airflow's DAG
- ``sql_file``: the query's text
- ``schedule``: when it runs
- ``occasion``: how often a customer may get the badge
- ``trigger_form``: what a person tells one run
- ``dag``: the four tasks
"""

from capillary.api.request_workflow import Entity
from capillary.campaign.model import BadgeCampaign, CampaignInvalid
from capillary.campaign.trigger_form import TriggerForm, TriggerFormInvalid
from capillary.engine.verdict import Policy, Word
from capillary.ledger.plan import Guards

__all__ = [
    "BadgeCampaign",
    "CampaignInvalid",
    "Entity",
    "Guards",
    "Policy",
    "TriggerForm",
    "TriggerFormInvalid",
    "Word",
]
