"""What a campaign is, and the DAG that it makes.

In reading order: ``model`` (`BadgeCampaign`), ``fields`` and ``field_types`` (what each field takes), ``schedule``
(when it runs), ``occasion`` (how often a customer may get its badge), ``trigger_form`` (what a person tells one run),
``dag`` (the four tasks).
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
