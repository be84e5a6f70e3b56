"""Debian's Chromium: `.ci/debian` installs it, and a test that lacks it skips with its reason, but not in CI."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: How long a browser may take to show something, milliseconds: Playwright's five seconds are few on a busy machine.
PATIENCE_MS: Final = 30_000
LACKED: Final = "there is no Chromium: apt-get install chromium"
needs_chromium: Final = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason=LACKED)
