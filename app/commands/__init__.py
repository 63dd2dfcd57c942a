"""The commands of `lipserve`, one module each."""
