"""The badge pages for an Airflow that has this folder as its plugins folder, and has not installed the package.

Where the package is installed, its entry point brings them, and this file brings nothing: Airflow takes a plugin once.
"""

from __future__ import annotations

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="capillary"):
    from capillary.ui.plugin import CapillaryPlugin  # noqa: F401 - Airflow looks for it here
