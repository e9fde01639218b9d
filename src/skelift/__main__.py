"""``python -m skelift`` is ``skelift``."""

import sys

from skelift.cli import main

sys.exit(main())
