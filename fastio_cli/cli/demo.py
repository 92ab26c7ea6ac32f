"""fastio demo: three agents, one document, one death. Everything it tells has really happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from fastio_cli.cli.demo_agent import COUNTER, REPORT, WAIT_S, open_engine
from fastio_cli.cli.framework.command import command
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from rich.console import Console

    from fastio_cli.cli.framework.output import Output
    from fastio_cli.cli.framework.session import Session
    from fastio_cli.engine.engine import Engine
    from fastio_cli.model import HeldLock, Lock

    class Counting(TypedDict):
        """How often the counter was incremented, and what it says."""

        increments: int
        counter: object

    class Killed(TypedDict):
        """The agent that was killed, and the lock it held."""

        agent: str
        exit_code: int
        was_holder: bool
        fence: int
        lease_ended_at: str

    class Turn(TypedDict):
        """An agent's turn to hold the lock."""

        agent: str
        fence: int
        at: str

    class LateWrite(TypedDict):
        """The outcome of a write with the lock of a dead agent."""

        exit_code: int
        error: str | None

    class Death(TypedDict):
        """What followed from the death of the lock's holder."""

        killed: Killed
        line: list[str]
        turns: list[Turn]
        late_writes: list[LateWrite]

    class Audit(TypedDict):
        """The report of the audit, without what it says about the workspace."""

        verified: bool
        events: int
        head_hash: str
        problem: str | None

    class Outcome(TypedDict):
        """The final state of the store."""

        document: list[str]
        fences: list[int]
        audit: Audit

    class Facts(Counting, Death, Outcome):
        """All that happened."""

        agents: dict[str, int]
        acknowledged: list[str]

    class Claim(TypedDict):
        """A promise of fastio, and whether it held."""

        claim: str
        holds: bool
        found: str

    class Report(Facts):
        """The facts, and what they say about the promises."""

        ok: bool
        duration_s: float
        claims: list[Claim]


WORK = {"researcher": "finding", "writer": "paragraph", "reviewer": "comment"}
INCREMENTS = 20
LINES = 4
LEASE_S = 2  # the demo waits for it to end; long enough for two to get in line meanwhile


@command("demo", help="Watch three agents share one state object, and one of them die.")
def demo(cli: Session) -> None:
    """Everything happens in a temporary store, which is removed at the end."""
    explicit = cli.flags["format"] or cli.config.get("format")
    as_report = explicit in ("json", "jsonl") or cli.out.quiet
    story = Story(cli.out, silent=as_report)
    report = play(story)
    if as_report:
        cli.out.record(report, essential="ok")
    broken = [claim["claim"] for claim in report["claims"] if not claim["holds"]]
    if broken:
        raise FastioError(
            "internal",
            f"{len(broken)} of {len(report['claims'])} claims did not hold: {'; '.join(broken)}.",
            "Check this installation: fastio doctor",
        )


def play(story: Story) -> Report:
    """Run the demo in a temporary store; returns the report of what happened, with its claims."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fastio-demo-", ignore_cleanup_errors=True) as folder:
        engine = open_engine(folder)
        for path, value in ((COUNTER, 0), (REPORT, [])):
            engine.call("state.init", {"path": path, "value": value}, actor="demo")
        agents = {name: Agent(name, folder) for name in WORK}
        try:
            facts = _acts(story, engine, agents, folder)
        finally:
            for agent in agents.values():
                agent.kill()
            engine.store.close()
    verdicts = claims(facts)
    duration_s = round(time.monotonic() - started, 3)
    story.verdicts(verdicts, duration_s)
    ok = all(claim["holds"] for claim in verdicts)
    return {"ok": ok, "duration_s": duration_s, "claims": verdicts, **facts}


def _acts(story: Story, engine: Engine, agents: dict[str, Agent], folder: str) -> Facts:
    """What happened, in order: each act adds its facts."""
    pids = {name: agent.process.pid for name, agent in agents.items()}
    story.act("Three agents share one store. Each is a process of its own.")
    for name, pid in pids.items():
        story.line(name, f"starts as process {pid}")
    counting = _count(story, engine, agents)
    acknowledged = _take_turns(story, agents)
    death = _die(story, engine, agents, acknowledged, folder)
    outcome = _look_back(engine)
    return {"agents": pids, **counting, **death, **outcome, "acknowledged": acknowledged}


def _count(story: Story, engine: Engine, agents: dict[str, Agent]) -> Counting:
    story.act("All three add to one counter at the same time, without a lock.")
    for agent in agents.values():
        agent.tell(do="count", times=INCREMENTS)
    for name, agent in agents.items():
        answer = agent.answer()
        story.line(name, f"added 1 {answer['times']} times, and read {answer['last']} at last")
    counter = engine.call("state.get", {"path": COUNTER})["value"]
    story.line("counter", f"says {counter}")
    return {"increments": INCREMENTS * len(agents), "counter": counter}


def _take_turns(story: Story, agents: dict[str, Agent]) -> list[str]:
    """Every agent writes some lines, each under a lock; the lines that were acknowledged."""
    story.act(f"All three write into {REPORT}: lock, read, change, write, release.")
    for name, agent in agents.items():
        lines = [f"{WORK[name]} {number}" for number in range(1, LINES + 1)]
        agent.tell(do="contribute", lines=lines)
    acknowledged = []
    for name, agent in agents.items():
        lines = agent.answer()["lines"]
        story.line(name, f"wrote {lines[0]} to {lines[-1]}")
        acknowledged += lines
    return acknowledged


def _die(
    story: Story, engine: Engine, agents: dict[str, Agent], acknowledged: list[str], folder: str
) -> Death:
    """The holder of the lock is killed, and the waiters continue; the facts.

    What they write is added to ``acknowledged``.
    """
    researcher, writer, reviewer = agents.values()
    story.act("The researcher dies while it holds the lock.")
    researcher.tell(do="hold", ttl_s=LEASE_S)
    held = researcher.answer()
    dead: HeldLock = held["lock"]
    late = json.dumps([*held["read"], "late finding"])
    story.line("researcher", f"holds the lock for {LEASE_S} s, with fence {dead['fence']}")
    for place, agent in enumerate((writer, reviewer), 1):
        agent.tell(do="take_turn", line=f"{WORK[agent.name]} {LINES + 1}")
        holder = _wait_for_waiters(engine, place)
        story.line(agent.name, f"waits in line, number {place}")
    exit_code = researcher.kill()
    story.line("researcher", f"is killed (exit code {exit_code}) before it could write")

    first: Lock = writer.answer()["lock"]
    story.line("writer", f"gets the lock as the lease ends, with fence {first['fence']}")
    late_writes = [_write_late(story, folder, dead["token"], late)]
    acknowledged += _finish_turn(story, writer)
    second: Lock = reviewer.answer()["lock"]
    story.line("reviewer", f"gets the lock next, with fence {second['fence']}")
    acknowledged += _finish_turn(story, reviewer)
    # The dead agent's token is refused also while nobody holds the lock.
    late_writes.append(_write_late(story, folder, dead["token"], late))
    return {
        "killed": {
            "agent": "researcher",
            "exit_code": exit_code,
            "was_holder": holder == "researcher",
            "fence": dead["fence"],
            "lease_ended_at": dead["expires_at"],
        },
        "line": ["writer", "reviewer"],
        "turns": [
            {"agent": lock["holder"], "fence": lock["fence"], "at": lock["acquired_at"]}
            for lock in (first, second)
        ],
        "late_writes": late_writes,
    }


def _finish_turn(story: Story, agent: Agent) -> list[str]:
    """Let the holder of the lock write and release; the lines that were acknowledged."""
    agent.tell()
    lines: list[str] = agent.answer()["lines"]
    story.line(agent.name, f"writes {', '.join(lines)} and releases")
    return lines


def _wait_for_waiters(engine: Engine, count: int) -> str:
    """Wait until there are so many waiters for the lock; its holder."""
    deadline = time.monotonic() + WAIT_S
    while True:
        token = engine.store.change_token("default")
        lock = engine.call("lock.show", {"path": REPORT})
        if lock["waiters"] >= count:
            holder: str = lock["holder"]
            return holder
        left = deadline - time.monotonic()
        if left <= 0:
            raise FastioError("internal", "An agent of the demo did not queue for the lock.")
        engine.store.wait_for_change(token, left)


def _write_late(story: Story, folder: str, token: str, document: str) -> LateWrite:
    """The dead agent's write arrives after all, from a command with its old token."""
    words = ["state", "set", REPORT, document, "--store", folder, "-w", "default", "--json"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTIO_")}
    done = subprocess.run(
        [sys.executable, "-m", "fastio_cli", *words, "--actor", "researcher"],
        env={**environment, "FASTIO_LOCK_TOKEN": token},
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )
    error = json.loads(done.stderr)["error"]["code"] if done.returncode else None
    outcome = f"is refused: {error}" if error else "is accepted"
    story.line("researcher", f"its late write {outcome} (exit code {done.returncode})")
    return {"exit_code": done.returncode, "error": error}


def _look_back(engine: Engine) -> Outcome:
    """The final state of the store: its document and its log."""
    grants = engine.call("event.list", {"type": "lock.acquire", "limit": 1000})["items"]
    audit = engine.call("audit.verify")
    return {
        "document": engine.call("state.get", {"path": REPORT})["value"],
        "fences": [event["seq"] for event in grants],  # a fence is the number of its event
        "audit": {
            "verified": audit["verified"],
            "events": audit["events"],
            "head_hash": audit["head_hash"],
            "problem": audit["problem"],
        },
    }


def claims(facts: Facts) -> list[Claim]:
    """The promises of fastio, each checked against what happened."""
    killed, turns, audit = facts["killed"], facts["turns"], facts["audit"]
    written, document = facts["acknowledged"], facts["document"]
    fences = facts["fences"]
    errors = [write["error"] for write in facts["late_writes"]]
    return [
        _claim(
            "No increment was lost",
            facts["counter"] == facts["increments"],
            f"{facts['increments']} were made, the counter says {facts['counter']}",
        ),
        _claim(
            "The holder was killed while it held the lock",
            killed["was_holder"] and killed["exit_code"] != 0,
            f"{killed['agent']} ended with {killed['exit_code']}",
        ),
        _claim(
            "The lock came free when the lease ended, no sooner",
            turns[0]["at"] >= killed["lease_ended_at"],
            f"lease until {killed['lease_ended_at']}, granted at {turns[0]['at']}",
        ),
        _claim(
            "Those in line were served in order",
            [turn["agent"] for turn in turns] == facts["line"],
            ", then ".join(turn["agent"] for turn in turns),
        ),
        _claim(
            "The next holder has a higher fence",
            turns[0]["fence"] > killed["fence"],
            f"{turns[0]['fence']} after {killed['fence']}",
        ),
        _claim(
            "Fences only ever rose",
            len(fences) > 1 and fences == sorted(set(fences)),
            f"{len(fences)} locks, {fences[0]} to {fences[-1]}" if fences else "no lock",
        ),
        _claim(
            "The dead agent's late write was refused, twice",
            errors == ["lock_lost", "lock_lost"],
            ", ".join(str(error) for error in errors),
        ),
        _claim(
            "The document holds every acknowledged line once, and nothing else",
            sorted(document) == sorted(written),
            f"{len(written)} acknowledged, {len(document)} in the document",
        ),
        _claim(
            "The log's hash chain verifies",
            audit["verified"] is True,
            audit["problem"] or f"{audit['events']} events, head {audit['head_hash'][:12]}",
        ),
    ]


def _claim(text: str, holds: bool, found: str) -> Claim:
    return {"claim": text, "holds": holds, "found": found}


class Agent:
    """An agent's process: tell it what to do, read what it answers."""

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        # In a session of its own, so that Ctrl-C reaches the demo alone, which then ends it.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastio_cli.cli.demo_agent", name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def tell(self, **task: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Its next answer. Raises ``internal`` when it failed or ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": {"message": "It ended."}}
        if "error" in answer:
            message = answer["error"]["message"]
            raise FastioError("internal", f"The demo's {self.name} failed: {message}")
        return answer

    def kill(self) -> int:
        """Kill it (SIGKILL) and release its pipes; its exit code."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return code


class Story:
    """Prints what happens: in colour at a terminal, else in plain lines."""

    COLOURS = {"researcher": "cyan", "writer": "green", "reviewer": "magenta"}

    def __init__(self, out: Output, silent: bool = False) -> None:
        self._out = out
        self._silent = silent
        self._console: Console | None = None
        if out.terminal and not silent:
            from rich.console import Console

            self._console = Console(highlight=False)

    def act(self, text: str) -> None:
        self._print(f"\n{text}", f"\n[bold]{text}[/]")

    def line(self, who: str, text: str) -> None:
        name = f"{who:<10}"
        self._print(f"  {name}  {text}", f"  [{self.COLOURS.get(who, 'blue')}]{name}[/]  {text}")

    def verdicts(self, verdicts: list[Claim], duration_s: float) -> None:
        """What was promised, whether it held, and what to try next."""
        self.act("What fastio promises, held against what happened:")
        for claim in verdicts:
            text = f"{claim['claim']} ({claim['found']})."
            plain, rich = ("ok", "[green]✓[/]") if claim["holds"] else ("BROKEN", "[red]✗[/]")
            self._print(f"  {plain:<6} {text}", f"  {rich} {text}")
        self.act(f"That took {duration_s:.1f} s. The store is removed again. Try next:")
        self._print("  fastio state set plan.json '{\"step\": 1}'")
        self._print("  fastio lock run plan.json -- fastio state increment plan.json --at /step")
        self._print("  fastio event list")

    def _print(self, plain: str, rich: str | None = None) -> None:
        if self._silent:
            return
        if self._console is None:
            self._out.line(plain)
            sys.stdout.flush()
        else:
            self._console.print(rich or plain, soft_wrap=True, markup=rich is not None)
