"""Makes the packages of this checkout importable where it is not installed: import it before `nha`."""

from __future__ import annotations

import site
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
site.addsitedir(str(ROOT))
