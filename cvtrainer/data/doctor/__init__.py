"""The doctor of data: looks at every sample and at the whole, and says what is wrong."""

from cvtrainer.data.doctor.examine import check_sample, count_by_severity, examine
from cvtrainer.data.doctor.finding import CHECKS, Finding, Severity, finding
from cvtrainer.data.doctor.plan import plan_of

__all__ = [
    "CHECKS",
    "Finding",
    "Severity",
    "check_sample",
    "count_by_severity",
    "examine",
    "finding",
    "plan_of",
]
