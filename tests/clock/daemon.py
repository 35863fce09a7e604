"""A daemon with tasks, and what happens to it while the clock is set."""

import collections
import contextlib
import glob
import json
import os
import signal
import subprocess
import time

from ledger import Ledger, Wrong, instant

patience = 60  # seconds until a wait is in vain


def lose_patience():
    """Where one promise is broken, others are as well, and all are to be told of in time."""
    global patience
    patience = 5


def wait_for(what, condition):
    """Until the condition is true, and says what was asked for."""
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Wrong(f"waited in vain: {what}")
        time.sleep(0.05)


def read(name):
    """The whole lines of a file, none where it is not there."""
    with contextlib.suppress(FileNotFoundError), open(name) as file:
        return [line for line in file if line.endswith("\n")]
    return []


def is_gone(pid):
    """Whether it has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Daemon:
    """One of them, named after its fate, in the directory of that name."""

    def __init__(self, programs, fate):
        self.programs, self.fate, self.dir = programs, fate, os.path.abspath(fate)
        os.mkdir(self.dir)
        self.starts, self.gate = (os.path.join(self.dir, name) for name in ("starts", "gate"))
        self.child = self.runner = None
        self.lives = 0

    # ---- as a program

    def launch(self):
        """Starts it; `serves` waits for that."""
        self.lives += 1
        config = os.path.join(self.dir, "taskd.toml")
        open(config, "a").close()
        places = {"--config": config, "--socket": "sock", "--state-dir": "state", "--log-dir": "log"}
        arguments = [word for flag, name in places.items() for word in (flag, os.path.join(self.dir, name))]
        with open(os.path.join(self.dir, "stderr"), "a") as stderr:
            command = [os.path.join(self.programs, "taskd"), *arguments]
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)

    def serves(self):
        """Waits until it has a runner."""

        def runner():
            lives = self.said("taskd starts", "a runner is attached")
            told = [line for line in lives if line["msg"] == "taskd starts"]
            return len(told) == self.lives and lives[-1] is not told[-1] and lives[-1]["pid"]

        try:
            self.runner = wait_for("it serves, and has a runner", runner)
        except Wrong as wrong:
            said = read(os.path.join(self.dir, "stderr"))[-10:] + self.log()[-10:]
            raise Wrong(f"{wrong}; it said:\n{''.join(said)}") from wrong

    def taskctl(self, *arguments, stdin=""):
        command = [os.path.join(self.programs, "taskctl"), "--socket", os.path.join(self.dir, "sock"), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=patience)

    def ask(self, *arguments):
        """What taskctl answers."""
        answer = self.taskctl(*arguments, "--json")
        if answer.returncode:
            raise Wrong(f"taskctl {' '.join(arguments)}: {answer.stderr.strip()}")
        return json.loads(answer.stdout)

    def takes_tasks(self, tasks):
        start = f'echo "$TASKD_RUN $TASKD_FIRE_TIME" >>{self.starts}'
        long = f"{start}; until [ -e {self.gate} ]; do sleep 0.5; done; exit 7"
        definitions = [task.definition(long if task.name == "long" else start) for task in tasks]
        answer = self.taskctl("import", "-", stdin="\n".join(map(json.dumps, definitions)))
        if answer.returncode:
            raise Wrong(answer.stderr)

    def log(self):
        """The lines of its log, which is rotated when the day changes."""
        files = sorted(glob.glob(os.path.join(self.dir, "log", "taskd.log*")), reverse=True)
        return [line for name in files for line in read(name)]

    def said(self, *messages):
        """What its log has with these messages."""
        return [json.loads(line) for line in self.log() if any(f'"{message}"' in line for message in messages)]

    # ---- what happens to it

    def before_a_step(self):
        if self.fate in ("stopped", "suspended"):
            self.child.send_signal(signal.SIGSTOP)
        if self.fate == "suspended":
            os.kill(self.runner, signal.SIGSTOP)
        if self.fate in ("killed", "crashed"):
            self.kill()
        if self.fate == "crashed":
            os.kill(self.runner, signal.SIGKILL)
            wait_for("the runner is gone", lambda: is_gone(self.runner))
        if self.fate == "down":
            self.stop()

    def after_a_step(self):
        if self.fate == "suspended":
            os.kill(self.runner, signal.SIGCONT)
        if self.fate in ("stopped", "suspended"):
            self.child.send_signal(signal.SIGCONT)
        if self.fate in ("killed", "crashed", "down"):
            self.launch()

    def stop(self):
        self.taskctl("stop")
        self.child.wait(patience)

    def kill(self):
        self.child.kill()
        self.child.wait(patience)

    # ---- what it did

    def started(self):
        """The runs that have started, as they themselves say, and their fire times."""
        return [(run, instant(at)) for run, at in map(str.split, read(self.starts))]

    def has_started(self, name, after, but=0):
        """The first fire time after that of which a run of the task has started, but for so many that did so before."""
        return next((at for run, at in self.started()[but:] if run.startswith(name + "/") and at > after), None)

    def ledger(self, at=None):
        """What it has recorded, the beat of that instant at least. Nothing has started twice, and what has started is what
        is recorded."""

        def recorded():
            earlier = self.started()
            ledger = Ledger(self.ask("runs", "--limit", "0"), self.ask("show", "*"))
            return (earlier, ledger) if at is None or any(run["at"] == at for run in ledger.runs["beat"]) else None

        earlier, ledger = wait_for("what has started is recorded", recorded)
        started = self.started()
        twice = [run for run, count in collections.Counter(run for run, _ in started).items() if count > 1]
        if twice:
            raise Wrong(f"started more than once: {twice}")
        runs = [run for runs in ledger.runs.values() for run in runs]
        unheard = set(earlier) - {(run["run"], run["at"]) for run in runs}
        if unheard:
            raise Wrong(f"started and not recorded: {sorted(unheard)}")
        unseen = {(run["run"], run["at"]) for run in runs if run["outcome"] == "succeeded"} - set(started)
        if unseen:
            raise Wrong(f"recorded and not started: {sorted(unseen)}")
        return ledger
