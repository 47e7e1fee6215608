"""Who wanted to change what, and what came of it: one log entry for each such request.

The entry is made when the answer is known, so refusals of every kind are in it. It holds names and ids only: nothing of
headers or bodies that a caller could have put a secret into.
"""

import logging
from dataclasses import dataclass

from pydantic import BaseModel

from functions.api.route import Access, Route
from ips_common.models.node_view import PlanView
from ips_common.models.view import TaskView

logger = logging.getLogger(__name__)

_NO_ENTRY = frozenset({401, 403})


@dataclass(slots=True)
class Attempt:
    """A request on its way; filled in as more of it is known."""

    route: Route
    task_id: str
    caller: str | None = None
    result: BaseModel | bytes | None = None
    code: str | None = None

    def log(self, status: int) -> None:
        """Write the entry if the request was to change something, or if its caller was turned away."""
        if self.route.access is not Access.WRITE and status not in _NO_ENTRY:
            return
        fields: dict[str, object] = {
            "action": self.route.name,
            "decision": "allowed" if status < 400 else "refused" if status < 500 else "failed",
            "status": status,
            "caller": self.caller,
        }
        if self.code:
            fields["code"] = self.code
        if self.task_id:
            fields["taskId"] = self.task_id
        match self.result:
            case TaskView():
                fields |= {
                    "taskId": self.result.task_id,
                    "cluster": self.result.cluster,
                    "images": len(self.result.images),
                }
            case PlanView():
                fields |= {"dryRun": True, "cluster": self.result.cluster}
        logger.info("audit", extra=fields)
