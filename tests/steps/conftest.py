"""What the tests of this room share lies beside them: ``small_run`` makes a real run without a training framework."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
