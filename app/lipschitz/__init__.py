"""The numerical library: usable alone from Python, knows nothing of HTTP, jobs or stores."""
