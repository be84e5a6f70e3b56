"""x"""
from capillary.ui.plugin import CapillaryPlugin
