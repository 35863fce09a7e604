"""What the tasks of a daemon are, and whether the ledger accounts for each of their fire times.

Instants are milliseconds since the epoch.
"""

import calendar
import collections
import time

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

SHOWN = 10  # spans of a task in `taskctl show`
LATE = 10 * SECOND  # a run that is created later than that is a catch-up


class Wrong(Exception):
    """A promise that does not hold."""


def instant(text):
    """An RFC 3339 time in UTC."""
    whole = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    return whole * SECOND + int(text[20:-1].ljust(3, "0")[:3] or 0)


def show(at):
    """As text, for people."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // SECOND)) + ".%03dZ" % (at % SECOND)


class Task:
    """A task: its fire times are those that are `offset` from a multiple of `period`; `within` says how late it may be
    caught up with, 0 for never."""

    def __init__(self, name, period, offset, schedule, within=HOUR):
        self.name, self.period, self.offset, self.within = name, period, offset, within
        self.schedule = schedule
        self.latest = within  # how late a run may be created at all

    def definition(self, line):
        """As `taskctl import` reads it, with this shell line to run."""
        return {
            "name": self.name,
            "schedule": self.schedule,
            "action": {"kind": "shell", "line": line},
            "cwd": None,
            "env": [],
            "description": None,
            "enabled": True,
            "misfire": "once" if self.within else "skip",
            "misfire_within_ms": self.within or None,
            "dst_gap": "auto",
            "dst_overlap": "auto",
        }

    def first_after(self, after):
        return (after - self.offset) // self.period * self.period + self.period + self.offset

    def between(self, after, until):
        """The fire times after the one instant, up to the other."""
        return range(self.first_after(after), until + 1, self.period)


class Once(Task):
    """A task for a single instant."""

    def __init__(self, name, at):
        super().__init__(name, DAY, 0, {"kind": "at", "at": show(at), "tz": None})
        self.at = at
        self.latest = 1000 * DAY

    def first_after(self, after):
        return self.at if self.at > after else None

    def between(self, after, until):
        return range(self.at, self.at + (after < self.at <= until))


def cron(name, period, offset, expr, **policies):
    return Task(name, period, offset, {"kind": "cron", "expr": expr, "tz": "UTC"}, **policies)


# The instant about which all stories are told.
NOON = calendar.timegm((2031, 3, 5, 12, 0, 0)) * SECOND

BEAT = 3 * SECOND
EVERY = 4 * BEAT
ANCHOR = NOON - 100 * EVERY + 400

TASKS = [
    cron("beat", BEAT, 0, "*/3 * * * * *"),
    Task("twelve", EVERY, ANCHOR % EVERY, {"kind": "every", "interval_ms": EVERY, "anchor_ms": ANCHOR}),
    cron("minute", MINUTE, 0, "* * * * *"),
    cron("half", HOUR, 30 * MINUTE, "30 * * * *"),
    cron("never-late", HOUR, 30 * MINUTE, "30 * * * *", within=0),
    cron("noon", DAY, 12 * HOUR, "0 12 * * *"),
    cron("ten", DAY, 10 * HOUR, "0 10 * * *", within=3 * HOUR),
    cron("evening", DAY, 18 * HOUR, "0 18 * * *"),
    Once("once", NOON + 1500),
    Once("later", NOON + 45 * MINUTE),
    Once("long", NOON + 1500),  # its run goes on until it is let go
]

Entry = collections.namedtuple("Entry", "first last count outcome reason")


class Ledger:
    """What a daemon has recorded of its tasks: runs and spans of fire times without one, by task."""

    def __init__(self, runs, shown):
        self.runs = collections.defaultdict(list)
        for run in runs:
            self.runs[run["task"]].append(dict(run, at=instant(run["fire_time"])))
        self.spans = {
            task["name"]: [
                Entry(instant(span["first"]), instant(span["last"]), span["count"], span["outcome"], span["reason"])
                for span in task["passed"]
            ]
            for task in shown
        }
        full = [name for name, spans in self.spans.items() if len(spans) == SHOWN]
        if full:
            raise Wrong(f"there may be more spans than are shown of {full}")
        self.next = {task["name"]: task["next"] and instant(task["next"]) for task in shown}

    def since(self, earlier):
        """What is in this one and not in an earlier one."""
        new = Ledger([], [])
        for name, runs in self.runs.items():
            known = {run["run"] for run in earlier.runs[name]}
            new.runs[name] = [run for run in runs if run["run"] not in known]
        for name, spans in self.spans.items():
            new.spans[name] = [span for span in spans if span not in earlier.spans[name]]
        return new

    def account(self, after, until, slack):
        """Each fire time after the one instant, up to the other, has exactly one entry, and what has an entry is a fire
        time after `slack` before that."""
        for task in TASKS:
            entries = collections.Counter(run["at"] for run in self.runs[task.name])
            for span in self.spans[task.name]:
                within = task.between(span.first - 1, span.last)
                if len(within) != span.count:
                    raise Wrong(f"{task.name}: {len(within)} fire times are in a span of {span.count}: {tell(span)}")
                if span.outcome not in ("missed", "skipped", "unknown"):
                    raise Wrong(f"{task.name}: {tell(span)}")
                entries.update(within)
            for at, count in entries.items():
                if not task.between(at - 1, at) or at <= after - slack:
                    raise Wrong(f"{task.name} was not due at {show(at)}, and yet there is an entry")
                if count > 1:
                    raise Wrong(f"{task.name} has {count} entries for {show(at)}: {self.tell(task.name)}")
            lost = [at for at in task.between(after, until) if at not in entries]
            if lost:
                raise Wrong(f"{task.name} has no entry for {len(lost)}, first {show(lost[0])}: {self.tell(task.name)}")

    def caught_up(self, after, until):
        """What is rare and passed by after the one instant, up to the other, which is now or shortly before, has been dealt
        with as its task says: the latest is run if that is not too late, nothing else is."""
        for task in TASKS:
            passed = task.between(after, until)
            if task.period < HOUR or not passed:
                continue
            ran = {run["at"]: run["trigger"] for run in self.runs[task.name] if after < run["at"] <= until}
            late = until - passed[-1]
            want = {}
            if late <= LATE:
                want = {passed[-1]: ran.get(passed[-1]) or "a run"}  # in time or not, as soon as the daemon is there
            elif late <= task.latest:
                want = {passed[-1]: "catch-up"}
            if ran != want:
                raise Wrong(f"{task.name} had {ran} and should have had {want}: {self.tell(task.name)}")

    def runs_are_sound(self):
        """No fire time has two runs, and a run says truly why it is there."""
        for task in TASKS:
            name, runs = task.name, self.runs[task.name]
            times = collections.Counter(run["at"] for run in runs)
            twice = [show(at) for at, count in times.items() if count > 1]
            if twice:
                raise Wrong(f"{name} has two runs for {twice}: {self.tell(name)}")
            for run in runs:
                late = instant(run["created_at"]) - run["at"]
                trigger = "schedule" if late <= LATE else "catch-up"
                if run["trigger"] != trigger or late < 0 or late > max(task.latest, LATE):
                    raise Wrong(f"{late} ms late: {run}")

    def tell(self, name):
        runs = [f"{run['run']} {run['fire_time']} {run['trigger']} {run['outcome']}" for run in self.runs[name]]
        return "\n  " + "\n  ".join(runs + [tell(span) for span in self.spans.get(name, [])])


def tell(span):
    return f"{show(span.first)} to {show(span.last)}: {span.count} {span.outcome}, {span.reason}"
