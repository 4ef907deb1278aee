"""From a run to proven artefacts: `export.py` is the job, the others are what it is made of."""

from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.jobs.export.export import export
from cvtrainer.jobs.export.form import Form
from cvtrainer.jobs.export.limits import drop_of
from cvtrainer.jobs.export.wanted import Exported, Wanted

__all__ = ["Exported", "Form", "Scheme", "Wanted", "drop_of", "export"]
