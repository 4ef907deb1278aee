"""Parts of a data set: by ratio, stratified, by group, k-fold, or as given."""

from cvtrainer.data.splits.split import Split
from cvtrainer.data.splits.subset import Subset

__all__ = ["Split", "Subset"]
