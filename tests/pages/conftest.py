"""What the tests of this room share: ``test_card`` has a card, which ``test_card_xml`` also uses."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
