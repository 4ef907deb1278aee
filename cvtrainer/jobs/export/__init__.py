"""From a run to proven artefacts: `export.py` is the job, the others are what it is made of."""

from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.jobs.export.export import Exported, Wanted, export

__all__ = ["Exported", "Scheme", "Wanted", "export"]
