"""Is a killed and resumed run the unbroken one? Asks the user's own config, by killing it."""

from cvtrainer.jobs.verify_resume.job import KILLS, verify_resume
from cvtrainer.jobs.verify_resume.verdict import Difference, Verdict

__all__ = ["KILLS", "Difference", "Verdict", "verify_resume"]
