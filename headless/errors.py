"""Errors of workflows."""

from ..models.errors import InputError


class WorkflowError(InputError):
    """A workflow that cannot be run as it is; `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)
