"""The errors that a user can mend, for whoever shows them.

PlanError         the plan or a trace cannot be read
TargetError       a target cannot be tested
RunFolderError    a folder is no run, or already one
ConditionError    a --fail-if condition is not understood
GeneratorError    a generator process died
ArmError          an arm cannot be read or put in force
ResourceError     kubectl could not do what it was asked to
OSError           a file cannot be read or written
"""

from __future__ import annotations

from typing import Final

from loadtests.arms import ArmError
from loadtests.plan import PlanError
from loadtests.preflight import TargetError
from loadtests.process import GeneratorError
from loadtests.records import RunFolderError
from loadtests.resource import ResourceError
from loadtests.verdict import ConditionError

KNOWN: Final = (
    PlanError,
    TargetError,
    RunFolderError,
    ConditionError,
    GeneratorError,
    ArmError,
    ResourceError,
    OSError,
)
