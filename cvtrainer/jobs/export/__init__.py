"""From a run to proven artefacts: `export.py` is the job, the others are what it is made of."""

from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.jobs.export.export import Exported, Wanted, export
from cvtrainer.jobs.export.form import Form

__all__ = ["Exported", "Form", "Scheme", "Wanted", "export"]
