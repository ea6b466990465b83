"""Errors of workflows."""

from ..models.errors import InputError
from ..models.printable import printable


class WorkflowError(InputError):
    """A workflow that cannot be run as it is; `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__()
        self.problems = [printable(problem) for problem in problems]
        self.args = ("\n".join(self.problems),)
