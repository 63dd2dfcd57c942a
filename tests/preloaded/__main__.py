"""`python -m tests.preloaded LOG COMMAND`: `python -m app COMMAND` in the project's folder."""

import os
import sys
from pathlib import Path

from app.cli import main

os.chdir(Path(__file__).parents[2])
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
for stream in (sys.stdout, sys.stderr):
    os.dup2(log, stream.fileno())
os.close(log)
sys.exit(main(sys.argv[2:]))
