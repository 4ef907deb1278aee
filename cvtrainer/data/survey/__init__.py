"""Looking at every sample of a data set once: what statistics and the doctor stand on.

A look reads a file's header or the whole of it and never fails: what is wrong with a sample is
part of what was seen. Samples are looked at by threads, in bounded memory, and given in order.
"""

from cvtrainer.data.survey.header import Header, read_header
from cvtrainer.data.survey.look import Sight, Trouble, look
from cvtrainer.data.survey.subject import Subject
from cvtrainer.data.survey.threads import in_order

__all__ = ["Header", "Sight", "Subject", "Trouble", "in_order", "look", "read_header"]
