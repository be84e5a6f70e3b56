"""When the platform says that a request ended: as the platform writes it, with its offset where that is known."""

from __future__ import annotations

import pytest

from capillary.ui.platforms_clock import by_platforms_clock


@pytest.mark.parametrize(
    ("shown", "zone", "said"),
    [
        ("2026-11-28T00:55:11", "UTC", "2026-11-28 00:55:11 +00:00 by the platform’s clock"),
        ("2026-11-28 00:55:11", "Asia/Kolkata", "2026-11-28 00:55:11 +05:30 by the platform’s clock"),
        ("2026-11-28T00:55:11+08:00", "UTC", "2026-11-28 00:55:11+08:00 by the platform’s clock"),
        ("2026-11-28T00:55:11", "", "2026-11-28 00:55:11 by the platform’s clock, in the cluster’s time zone"),
        (
            "2026-10-25T02:30:00",
            "Europe/Berlin",
            "2026-10-25 02:30:00 by the platform’s clock, in the cluster’s time zone",
        ),
    ],
    ids=["utc", "kolkata", "with an offset", "of an unknown zone", "of an hour that is there twice"],
)
def test_a_time_of_the_platform_names_its_zone(shown: str, zone: str, said: str) -> None:
    assert by_platforms_clock(shown, zone) == said
