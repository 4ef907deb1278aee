"""Runtimes that report to their makers, imported so that they cannot.

ONNX Runtime names the machine and sends what is run, OpenVINO's package sends each import and each
conversion, unless they are told otherwise before they are loaded. Nobody else imports them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_REPORTER = "openvino_telemetry"


def onnxruntime_in_private() -> Any:
    """ONNX Runtime; who wants it to report sets its variable to 0."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def openvino_in_private() -> Any:
    """OpenVINO without the package that it reports through, which it can do without."""
    if sys.modules.get(_REPORTER) is None:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]
    import openvino

    return openvino
