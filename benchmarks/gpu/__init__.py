"""One command for a bare machine with a GPU: `benchmarks/gpu/run`; see docs/gpu.md."""
