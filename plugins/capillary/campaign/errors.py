"""What is wrong with a campaign, and what to give instead.

The class above each error says whether a retry may help; brackets name the module of an error that only it raises::

    CapillaryError
      TerminalError
        FieldsInvalid
          CampaignInvalid
          TriggerFormInvalid
        OccasionInvalid (occasion)
"""

from __future__ import annotations

from capillary.wrong_fields import FieldsInvalid


class CampaignInvalid(FieldsInvalid):
    """A campaign's fields cannot be used. One line per wrong field: what is wrong, and what to give."""


class TriggerFormInvalid(FieldsInvalid):
    """What was given when the run was triggered cannot be used. Nothing was planned."""


class SqlInvalid(ValueError):
    """A query cannot be read; `problem` says why, `remedy` what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}.")
