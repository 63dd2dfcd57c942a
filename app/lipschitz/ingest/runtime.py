"""onnxruntime without its telemetry: importing it as it comes writes a device's id below HOME and looks for a network.

Its log is off as well: what matters of it comes back as exceptions.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotSupported

FATAL = 4

onnxruntime.disable_telemetry_events()
onnxruntime.set_default_logger_severity(FATAL)

__all__ = ["FATAL", "NotSupported", "onnxruntime"]
