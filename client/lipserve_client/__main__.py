"""`python -m lipserve_client` is `lipserve-client`."""

import sys

from lipserve_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
