"""``python -m fastgd``: the command, where its script is not on the path."""

from fastgd.cli import main

raise SystemExit(main())
