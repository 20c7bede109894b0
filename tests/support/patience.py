"""How long a test waits for what must come. Long, since only a failure pays for it: a pass ends the wait."""

from typing import Final

PATIENCE_SECONDS: Final = 120.0
