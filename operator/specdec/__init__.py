"""An operator for speculative decoding on Kubernetes."""

from typing import Final

__version__: Final = "0.1.0"
