"""A stand-in for one vLLM 0.33 server with speculative decoding: its command line, API and metrics; no GPU, no model.

Its step times and acceptance are ESTIMATES (see data/); what it shows about a policy holds only as far as they do.
"""

from typing import Final

__version__: Final = "0.1.0"
# What `/version` says and whose metrics page is imitated.
VLLM_VERSION: Final = "0.33.0"
