"""`python -m maildir_safe`: the command, where the script is not on the PATH."""

import sys

from maildir_safe._cli import main

sys.exit(main())
