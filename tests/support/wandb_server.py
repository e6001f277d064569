"""A stand-in for the server of Weights & Biases on 127.0.0.1, for the real client and real agents.

It answers what the client of the installed version asks (GraphQL, the file stream, uploads), keeps what it is told, and
runs sweeps (`wandb_sweeps`). What it does not know it answers with an error, and remembers in `unknown`.
"""

import json
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import yaml

from support.wandb_sweeps import Agent, Sweep

ENTITY = "team"
KEY = "0" * 40


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


class WandbServer:
    """The state, and an answer for each operation.

    Attributes:
        url: Where it listens.
        runs: By their name.
        sweeps: By their id.
        artifacts: In the order of their creation.
        unknown: Operations and paths that it has no answer for.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Agent] = {}
        self.artifacts: list[Artifact] = []
        self.unknown: list[str] = []
        self.lock = threading.RLock()
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What sends the client here."""
        return {
            "WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": ENTITY, "WANDB_MODE": "online",
            "WANDB_ERROR_REPORTING": "false", "WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true",
            # What a run says arrives once a second, not every fifteen.
            "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1",
            "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        }  # fmt: skip

    def query(self, text: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a query or mutation of GraphQL, by its name."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", text)
        name = found[1] if found else ""
        answer = getattr(self, f"_on_{_snake(name)}", None)
        with self.lock:
            if answer is None:
                self.unknown.append(name or text[:80])
                return {"errors": [{"message": f"the stand-in has no answer for {name}"}]}
            return {"data": answer(variables)}

    def _on_viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        user = {"id": "u", "entity": ENTITY, "username": "tester", "name": "tester", "email": "", "flags": "{}",
                "admin": False, "apiKeys": {"edges": []}, "teams": teams, "deletedAt": None}  # fmt: skip
        return {"viewer": user}

    _on_get_viewer = _on_viewer

    def _on_server_features_query(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _on_org_feature_flags(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"organization": {"featureFlags": []}}

    def _on_fetch_org_entity_from_entity(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": None, "user": None}}

    def _on_upsert_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        inserted = given["name"] not in self.runs
        run = self.runs.setdefault(given["name"], Run(given["name"], given.get("project") or "uncategorized"))
        run.sweep = given.get("sweep") or run.sweep
        if given.get("config"):
            run.config = {key: entry["value"] for key, entry in json.loads(given["config"]).items()}
        # The client tells it again and again while it runs.
        if inserted or run.state not in ("running", "preempting"):
            run.state, run.exit_code, run.starts = "running", None, run.starts + 1
        return {"upsertBucket": {"bucket": run.fields(), "inserted": inserted}}

    def _on_run_resume_status(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        model = {"id": "p", "name": given["project"], "entity": {"id": ENTITY, "name": ENTITY}}
        return {"model": {**model, "bucket": run.fields() if run else None}}

    def _on_run_state(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"run": self.runs[given["run"]].fields()}}

    def _on_create_run_files(self, given: dict[str, Any]) -> dict[str, Any]:
        places = [{"name": n, "uploadUrl": f"{self.url}/storage/runs/{given['run']}/{n}"} for n in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": places}}

    def _on_mark_run_files_uploaded(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"markRunFilesUploaded": {"success": True}}

    def _on_xx_hash_digests_enabled(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"xxhashDigestsEnabled": False}}

    def _on_fetch_artifact_digest_algorithm(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": None}

    def _on_create_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        told = given["input"]
        aliases = [alias["alias"] for alias in told.get("aliases") or []]
        names = told.get("artifactCollectionNames") or [told.get("artifactCollectionName", "")]
        self.artifacts.append(Artifact(names[0], aliases, json.loads(told.get("metadata") or "{}")))
        sequence = {"id": "s", "latestArtifact": None}
        made = {"id": str(len(self.artifacts) - 1), "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": made}}

    def _on_create_artifact_manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.url}/storage/manifests/{given['artifactID']}/{given['name']}"
        file = {"id": "f", "uploadUrl": place, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": given["artifactID"], "file": file}}}

    def _on_update_artifact_manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        number = given["artifactManifestID"]
        file = {"id": "f", "uploadUrl": f"{self.url}/storage/manifests/{number}/manifest", "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": number, "file": file}}}

    def _on_create_artifact_files(self, given: dict[str, Any]) -> dict[str, Any]:
        nodes = []
        for file in given["input"]["artifactFiles"]:
            place = f"artifacts/{file['artifactID']}/{file['name']}"
            nodes.append({
                "storagePath": place, "uploadUrl": f"{self.url}/storage/{place}", "uploadHeaders": [],
                "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]},
            })  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _on_commit_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.artifacts[int(given["artifactID"])].committed = True
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}

    def _on_upsert_sweep(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("id") or f"sweep{len(self.sweeps)}"
        if given.get("config"):
            self.sweeps[name] = Sweep(yaml.safe_load(given["config"]), project=given.get("projectName") or "p")
        if given.get("state"):
            self.sweeps[name].state = given["state"]
        project = {"id": "p", "name": self.sweeps[name].project, "entity": {"id": ENTITY, "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}}

    def _on_sweep_with_runs(self, given: dict[str, Any]) -> dict[str, Any]:
        name, sweep = given["sweep"], self.sweeps.get(given["sweep"])
        if sweep is None:
            return {"project": None}
        runs = [{"node": run.fields()} for run in self.runs.values() if run.sweep == name]
        told = {"id": name, "name": name, "method": sweep.config["method"], "state": sweep.state, "description": None,
                "config": yaml.safe_dump(sweep.config), "createdAt": None, "heartbeatAt": None, "updatedAt": None,
                "earlyStopJobRunning": False, "bestLoss": None, "controller": None, "scheduler": None}  # fmt: skip
        return {"project": {"sweep": {**told, "runs": {"edges": runs}}}}

    def _on_create_agent(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"agent{len(self.agents)}"
        self.agents[name] = Agent(given["sweep"])
        self.sweeps[given["sweep"]].agents.append(self.agents[name])
        return {"createAgent": {"agent": {"id": name}}}

    def _on_heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        agent = self.agents[given["id"]]
        found = self.sweeps[agent.sweep].commands(agent, json.loads(given["runState"]), self.runs)
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(found)}}

    def stream(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """Take what the file stream of a run says, and answer whether it shall stop."""
        with self.lock:
            run = self.runs[name]
            for file, part in (told.get("files") or {}).items():
                rows = [json.loads(line) for line in part["content"]] if file.startswith("wandb-") else []
                if file == "wandb-history.jsonl":
                    run.history[part["offset"] :] = rows
                elif file == "wandb-summary.json":
                    run.summary = rows[-1]
            if told.get("preempting"):
                run.state = "preempting"
            if told.get("complete"):
                run.exit_code = told.get("exitcode") or 0
                preempted = run.state == "preempting" and run.exit_code
                ended = "killed" if run.stop else "failed"
                run.state = "preempted" if preempted else ended if run.exit_code else "finished"
            return {"exitcode": None, "limits": {}, "stopped": run.stop}

    def store(self, path: str, content: bytes) -> None:
        """Keep an uploaded file."""
        kind, owner, name = path.split("/", 2)
        with self.lock:
            if kind == "runs":
                self.runs[owner].files[name] = content
            elif kind == "artifacts":
                self.artifacts[int(owner)].files[name] = content


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            told = json.loads(self._body() or "{}")
            if self.path == "/graphql":
                self._answer(server.query(told["query"], told.get("variables") or {}))
            elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                self._answer(server.stream(unquote(found[1]), told))
            else:
                self._unknown()

        def do_PUT(self) -> None:
            content = self._body()
            if self.path.startswith("/storage/"):
                server.store(unquote(self.path.removeprefix("/storage/")), content)
                self._answer({})
            else:
                self._unknown()

        def do_GET(self) -> None:
            self._unknown()

        def _unknown(self) -> None:
            server.unknown.append(f"{self.command} {self.path}")
            self._answer({"error": "not found"}, 404)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(self, content: dict[str, Any], status: int = 200) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


class _Listener(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show errors of the stand-in, but not that a client hangs up, as those do that are killed."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Run a stand-in in threads of this process."""
    server = WandbServer()
    http = _Listener(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
