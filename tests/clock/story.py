"""What tests/clock/run has told below a clock of its own: `story.py STORY DIR`, with the programs in DIR.

Prints PASS or FAIL for each promise, and why it failed. Each step of the clock has several witnesses, daemons with the same
tasks: one is alive through it; one is stopped meanwhile (SIGSTOP), and one suspended, which is that with its runner; one is
killed and one down, which is stopped in order, and both come back after it; one has crashed, which is killed with its runner.
To all of them a step forth is what a resume is: real time has jumped against the time since boot.
"""

import random
import sys
import time

from daemon import Daemon, lose_patience, wait_for
from ledger import BEAT, DAY, HOUR, MINUTE, NOON, SECOND, TASKS, Wrong, instant, show

BACK_MOST = 3 * HOUR  # further back than that, fire times come again
RESET = "the clock was set back far; fire times may come again"


def now():
    return time.time_ns() // 1_000_000


def set_clock(at):
    time.clock_settime_ns(time.CLOCK_REALTIME, at * 1_000_000)


def prove(name, daemon, promise, *arguments):
    """Calls the function, as a test, and says whether the promise holds."""
    try:
        promise(*arguments)
    except Exception as wrong:  # whatever it is, it failed, and the others are still to be told of
        told = str(wrong) if isinstance(wrong, Wrong) else repr(wrong)
        print(f"FAIL {name}\n    " + told.replace("\n", "\n    "))
        print("".join(f"    | {line}" for line in daemon.log()[-25:]), flush=True)
        lose_patience()
        return False
    print(f"PASS {name}", flush=True)
    return True


class Witness:
    """A daemon, and what is known of it."""

    def __init__(self, programs, fate):
        self.daemon = Daemon(programs, fate)
        self.since = None  # its fire times after that are to be accounted for
        self.slack = 0  # and some so long before that may be
        self.high = None  # the latest that the clock has shown, as far as that was looked at
        self.past = None  # what was recorded of an earlier time, when they come again
        self.starts = 0  # how many there were when the clock was set

    def takes_tasks(self, tasks):
        begun = now()
        self.daemon.takes_tasks(tasks)
        self.since = self.high = now()
        self.slack = self.since - begun

    def has_dealt_with_noon(self, tasks):
        for name in {"noon", "once"} & {task.name for task in tasks}:
            wait_for(f"{name} runs", lambda: self.daemon.has_started(name, 0))

    def accounts(self, ledger, until):
        ledger.runs_are_sound()
        (ledger.since(self.past) if self.past else ledger).account(self.since, until, self.slack)

    def goes_on(self, after):
        """The next fire time comes, and all before it are accounted for."""
        after = max(self.high, after)
        at = wait_for("the beat goes on", lambda: self.daemon.has_started("beat", after, self.starts))
        ledger = self.daemon.ledger(at)
        self.accounts(ledger, at - 1)
        return ledger, at

    def sees(self, by, set_to, after):
        """Keeps the promise that goes with a step by so much to that instant, which was before `after`."""
        self.daemon.serves()
        if by < -BACK_MOST:
            self.starts_over(set_to, after)
        elif by < -BEAT:
            self.sees_again(after)
        else:
            self.sees_ahead(set_to, after)

    def sees_ahead(self, set_to, after):
        """What was passed over is dealt with as each task wants."""
        ledger, at = self.goes_on(after)
        if self.daemon.fate != "crashed":  # then some may be unknown
            ledger.caught_up(self.high, set_to)
        self.high = at

    def sees_again(self, after):
        """Nothing happens until the clock is where it was."""
        wait_for("time passes", lambda: now() > after + BEAT + SECOND)
        again = [(run, show(at)) for run, at in self.daemon.started() if at > self.high]
        if again:
            raise Wrong(f"the clock was {show(self.high)} and is {show(now())}, and there were started {again}")
        ledger = self.daemon.ledger()
        self.accounts(ledger, self.high)
        for task in TASKS:
            due, first = ledger.next[task.name], task.first_after(self.high)
            # Of what was to come soon it is not known after a crash whether it came.
            if due != first and not (self.daemon.fate == "crashed" and due and due > first):
                raise Wrong(f"{task.name} is next due {due and show(due)}, not {first and show(first)}")

    def starts_over(self, set_to, after):
        """Fire times come again, and that is said."""
        told = wait_for("it is said", lambda: self.daemon.said(RESET))
        self.since = self.high = instant(told[-1]["mark"])
        self.slack = 0
        if not set_to <= self.since <= now():
            raise Wrong(f"marks were set to {show(self.since)}")
        _, self.high = self.goes_on(after)

    def has_a_long_run(self):
        """A run that began before all steps has lived on, unless its runner did not."""
        open(self.daemon.gate, "w").close()

        def ended():
            runs = self.daemon.ask("runs", "long")
            return runs if all(run["state"] == "finished" for run in runs) else None

        ends = [(run["outcome"], run["exit_code"]) for run in wait_for("it has ended", ended)]
        # A runner that its daemon started ends with it, in order.
        cut_off = {"crashed": ("unknown", None), "down": ("cancelled", None)}
        if ends != [cut_off.get(self.daemon.fate, ("failed", 7))]:
            raise Wrong(f"it ended as {ends}")


def set_out(programs, fates, tasks=TASKS):
    """Daemons that have these tasks since shortly before noon, and have just dealt with noon."""
    set_clock(NOON - 3 * MINUTE)
    witnesses = [Witness(programs, fate) for fate in fates]
    for witness in witnesses:
        witness.daemon.launch()
        witness.daemon.serves()
        witness.takes_tasks(tasks)
    set_clock(max(now(), NOON - SECOND))
    for witness in witnesses:
        witness.has_dealt_with_noon(tasks)
    return witnesses


def name_of(by):
    hours, minutes, seconds = abs(by) // HOUR, abs(by) % HOUR // MINUTE, abs(by) % MINUTE // SECOND
    parts = [f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if count]
    return ("+" if by > 0 else "-") + " ".join(parts)


def steps(programs, fates, *sizes):
    """The clock is set by these, one after the other, until a promise is broken."""
    witnesses = set_out(programs, fates)
    for by in sizes:
        if by < -BACK_MOST:
            for witness in witnesses:
                witness.past = witness.daemon.ledger()
        # Between the fire times that are often; a small step back is to cross them.
        least, most = (600, 900) if -BEAT < by < 0 else (1400, 2000)
        wait_for("a moment after a beat", lambda: least <= now() % BEAT <= most)
        for witness in witnesses:
            witness.daemon.before_a_step()
        before = now()
        set_to = before + by
        set_clock(set_to)
        for witness in witnesses:
            witness.high = max(witness.high, before)
            witness.starts = len(witness.daemon.started())
            witness.daemon.after_a_step()
        for witness in witnesses:
            try:
                witness.daemon.serves()
            except Wrong:  # it is waited for once more, where that is told of
                lose_patience()
        after = now()
        said = [
            prove(f"{name_of(by)}, daemon {witness.daemon.fate}", witness.daemon, witness.sees, by, set_to, after)
            for witness in witnesses
        ]
        if not all(said):
            return
    for witness in witnesses:
        prove(f"long run, {name_of(max(sizes))}, daemon {witness.daemon.fate}", witness.daemon, witness.has_a_long_run)


def idle(programs):
    """The clock is set when nothing is due for long: a timer that had not noticed would sleep on."""
    tasks = [task for task in TASKS if task.name in ("half", "noon")]
    [witness] = set_out(programs, ["alive"], tasks)
    daemon = witness.daemon

    def notices(name, set_to):
        starts = len(daemon.started())
        set_clock(set_to)
        wait_for(f"{name} runs", lambda: daemon.has_started(name, set_to - HOUR, starts))

    prove("+1 h, daemon idle", daemon, notices, "half", now() + HOUR)
    prove("-24 h, daemon idle", daemon, notices, "noon", NOON - DAY - 2 * SECOND)


def storm(programs):
    """The clock is set many times, by much and little, back and now and then forth, which leaves a span each."""
    dice = random.Random(1)
    [witness] = set_out(programs, ["alive"])
    latest = now()
    for nth in range(100):
        latest = max(latest, now())
        size = dice.randrange(dice.choice([SECOND // 10, SECOND, MINUTE, HOUR]))
        set_clock(latest + size if nth % 20 == 10 else latest - size)
        moment = time.monotonic() + dice.random() / 10
        wait_for("a moment", lambda: time.monotonic() > moment)
    set_clock(latest + HOUR)
    prove("a storm of steps", witness.daemon, witness.goes_on, now())


STORIES = {
    "second": lambda programs: steps(programs, ["alive", "stopped", "killed"], SECOND, -SECOND),
    "hour": lambda programs: steps(
        programs, ["alive", "stopped", "suspended", "killed", "down", "crashed"], HOUR, -HOUR, HOUR
    ),
    "three-hours": lambda programs: steps(
        programs, ["alive", "suspended", "killed", "down"], BACK_MOST, -BACK_MOST, BACK_MOST, -BACK_MOST - 10 * MINUTE
    ),
    "day": lambda programs: steps(programs, ["alive", "stopped", "killed", "crashed"], DAY, -DAY),
    "idle": idle,
    "storm": storm,
}

if __name__ == "__main__":
    try:
        STORIES[sys.argv[1]](sys.argv[2])
    except Wrong as wrong:
        print(f"FAIL {sys.argv[1]}: {wrong}")
