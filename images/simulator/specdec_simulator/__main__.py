import sys

from specdec_simulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
