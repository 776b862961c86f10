"""`python -m flipagents` is the command `flip`."""

import sys

from flipagents.cli import main

sys.exit(main())
