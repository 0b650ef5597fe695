"""`python -m wheelsmith`."""

import sys

from wheelsmith.cli.main import main

sys.exit(main())
