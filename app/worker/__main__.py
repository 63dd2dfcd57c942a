"""`python -m app.worker`: one child process of a supervisor."""

from __future__ import annotations

from app.worker.loop import Library, serve


def load() -> Library:
    """Import torch and the library, which takes seconds."""
    from app.worker.run import LipschitzLibrary

    return LipschitzLibrary()


if __name__ == "__main__":
    serve(load)
