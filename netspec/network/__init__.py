"""A document as a network: entries validated against their layer classes, blocks expanded.

    read(document) -> (NetworkSpec, diagnostics)

A `NetworkSpec` is frozen and free of errors, except while a broken file is being looked at: then what
could not be validated stands in it as `Broken`, so that the rest can still be checked.
"""

from netspec.network.read import read
from netspec.network.spec import Broken, Group, InputSpec, NetworkSpec, Origin, OutputSpec, Use

__all__ = ["Broken", "Group", "InputSpec", "NetworkSpec", "Origin", "OutputSpec", "Use", "read"]
