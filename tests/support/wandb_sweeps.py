"""Sweeps of the stand-in: which configuration is next, which run shall stop, and which goes on after a preemption.

The words of a sweep file are W&B's. The choices are simple ones of our own: `bayes` draws near the best run so far,
which is enough to see that scores come back and are used.
"""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Agent:
    """An agent: the sweep it works for, the runs that it was given, and those whose processes are alive."""

    sweep: str
    runs: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)


@dataclass
class Sweep:
    """A sweep.

    Attributes:
        config: Its file.
        given: The arguments of each run, by its name, in the order in which they were given.
        resumed: The runs that were preempted and given to an agent again.
        stopped: The runs that were asked to stop, as there were better ones at their place.
    """

    config: dict[str, Any]
    project: str
    state: str = "RUNNING"
    agents: list[Agent] = field(default_factory=list)
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumed: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def commands(self, agent: Agent, alive: Mapping[str, bool], runs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what an agent shall do next.

        Args:
            agent: The agent; it takes one run at a time.
            alive: The runs whose processes are alive there.
            runs: All runs that the server knows, by name.
        """
        agent.alive = list(alive)
        self._stop_the_worst(runs)
        stops = [name for name in alive if name in runs and runs[name].stop]
        if stops:
            return [{"type": "stop", "run_id": name} for name in stops]
        if alive:
            return []
        for name in self.given:
            # One that was asked to stop does not come back.
            if name in runs and runs[name].state == "preempted" and not runs[name].stop and name not in self.resumed:
                self.resumed.append(name)
                return [self._start("resume", name, agent)]
        arguments = self.next_arguments(runs) if len(self.given) < self.config.get("run_cap", math.inf) else None
        if self.state != "RUNNING" or arguments is None:
            # The run of another agent may still be preempted.
            return [] if any(other.alive for other in self.agents) else [{"type": "exit"}]
        name = f"run{len(self.given)}"
        self.given[name] = arguments
        return [self._start("run", name, agent)]

    def _start(self, kind: str, name: str, agent: Agent) -> dict[str, Any]:
        for other in self.agents:
            # An agent that was ended says nothing more of a run that it had.
            other.alive = [run for run in other.alive if run != name]
        agent.runs.append(name)
        agent.alive = [name]
        arguments = {key: {"value": value} for key, value in self.given[name].items()}
        return {"type": kind, "run_id": name, "program": self.config.get("program"), "args": arguments}

    def next_arguments(self, runs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the arguments of the next run; None if a grid has no more."""
        parameters, number = self.config["parameters"], len(self.given)
        if self.config["method"] == "grid":
            points = itertools.product(*(_values(given) for given in parameters.values()))
            point = next(itertools.islice(points, number, None), None)
            return None if point is None else dict(zip(parameters, point, strict=True))
        draws = random.Random(number)
        best = self.best(runs) if self.config["method"] == "bayes" else None
        return {key: _draw(draws, given, self.given[best][key] if best else None) for key, given in parameters.items()}

    def best(self, runs: Mapping[str, Any]) -> str | None:
        """Return the finished run with the best score in its summary."""
        name, sign = self.config["metric"]["name"], 1 if self.config["metric"]["goal"] == "minimize" else -1
        scores = {
            run: sign * runs[run].summary[name]
            for run in self.given
            if run in runs and runs[run].state == "finished" and name in runs[run].summary
        }
        return min(scores, key=lambda run: scores[run]) if scores else None

    def _stop_the_worst(self, runs: Mapping[str, Any]) -> None:
        """Ask runs to stop that are not among the best 1/eta at a bracket (Li et al., "Hyperband", JMLR 2018)."""
        rule = self.config.get("early_terminate")
        if not rule:
            return
        eta, name = rule.get("eta", 3), self.config["metric"]["name"]
        sign = 1 if self.config["metric"]["goal"] == "minimize" else -1
        curves = {r: [sign * row[name] for row in runs[r].history if name in row] for r in self.given if r in runs}
        for bracket in (rule["min_iter"] * eta**power for power in range(4)):
            reached = sorted(min(curve[:bracket]) for curve in curves.values() if len(curve) >= bracket)
            for run, curve in curves.items():
                if runs[run].state != "running" or runs[run].stop or not len(curve) >= bracket or len(reached) < 2:
                    continue
                if min(curve[:bracket]) > reached[max(math.ceil(len(reached) / eta), 1) - 1]:
                    runs[run].stop = True
                    self.stopped.append(run)


def _values(given: Mapping[str, Any]) -> list[Any]:
    return [given["value"]] if "value" in given else list(given["values"])


def _draw(draws: random.Random, given: Mapping[str, Any], near: Any) -> Any:
    """Draw a value, or one near another; nested parameters one by one."""
    if "parameters" in given:
        return {key: _draw(draws, inner, near and near[key]) for key, inner in given["parameters"].items()}
    if "min" not in given:
        return near if near is not None and draws.random() < 0.7 else draws.choice(_values(given))
    low, high = given["min"], given["max"]
    is_log = given.get("distribution", "").startswith("log_uniform")
    if is_log:
        low, high = math.log(low), math.log(high)
    place = draws.uniform(low, high)
    if near is not None:
        place = 0.7 * (math.log(near) if is_log else near) + 0.3 * place
    found = math.exp(place) if is_log else place
    return round(found) if given.get("distribution") == "int_uniform" else found
