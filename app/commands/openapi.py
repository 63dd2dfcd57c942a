"""`lipserve openapi`: the OpenAPI document, without a service."""

from __future__ import annotations

import argparse
import json
import sys

from ..main import create_app
from ..settings import Settings


def add_options(_parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(_options: argparse.Namespace) -> int:
    json.dump(create_app(Settings()).openapi(), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")
    return 0
