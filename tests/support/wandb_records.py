"""What the stand-in for the server of Weights & Biases keeps: runs and artifacts."""

import json
from dataclasses import dataclass, field
from typing import Any

ENTITY = "team"


@dataclass
class Run:
    """What the server knows of a run.

    Attributes:
        name: What the client calls its id.
        sweep: The id of its sweep; empty without one.
        config: Its configuration, by flat or nested keys as the client has given them.
        history: A dictionary for each row, in order.
        summary: The last summary.
        files: Uploaded files by name.
        state: As in W&B: running, finished, failed, killed (stopped by the sweep), preempting, preempted.
        starts: How many processes have begun it.
        stop: Whether it was asked to stop.
    """

    name: str
    project: str
    sweep: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    starts: int = 0
    stop: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the fields of GraphQL, of any query."""
        project = {"id": self.project, "name": self.project, "entity": {"id": ENTITY, "name": ENTITY}}
        lines = [json.dumps(row) for row in self.history]
        return {
            "id": f"id-{self.name}", "name": self.name, "displayName": self.name, "project": project,
            "config": json.dumps(self.config), "wandbConfig": json.dumps({"t": 1}), "sweepName": self.sweep or None,
            "summaryMetrics": json.dumps(self.summary), "historyLineCount": len(lines), "eventsLineCount": 0,
            "logLineCount": 0, "historyTail": json.dumps(lines[-1:]), "eventsTail": "[]", "tags": [],
            "state": self.state,
            "shouldStop": self.stop, "stopped": self.stop, "exitcode": self.exit_code, "heartbeatAt": None,
            "failed": self.state == "failed", "running": self.state == "running", "description": None, "notes": None,
            "sampledHistory": [[]],
        }  # fmt: skip


@dataclass
class Artifact:
    """An artifact of a run: its content arrives file by file."""

    name: str
    aliases: list[str]
    metadata: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False
