"""Plugins that make vLLM speak the engine contract: a live schedule, exact counters, a preflight, the patched drafter.

Everything here runs inside vLLM's own processes. `engine` is loaded in all of them and adds to the engine loop;
`endpoint` is loaded in the API servers and adds the HTTP routes and the metric families. What needs no vLLM to be
understood (`schedule`, `counters`, `steps`, `control`, `preflight`, `authentication`) imports none.
"""

from typing import Final

__version__: Final = "0.1.0"
