//! Every cell of the table of states and inputs.

use super::*;

const INPUTS: [Input; 9] = [
    Input::Cleared,
    Input::StopDecided,
    Input::Started,
    Input::Listed {
        spawned: false,
        stopping: false,
    },
    Input::Listed {
        spawned: true,
        stopping: false,
    },
    Input::Listed {
        spawned: true,
        stopping: true,
    },
    Input::Absent { same: true },
    Input::Absent { same: false },
    Input::Ended,
];

fn process() -> Process {
    Process {
        attempt: 1,
        pid: 7,
        started_at: Timestamp::from_millis(0),
    }
}

fn stopping(of: Halted) -> State {
    State::Stopping {
        reason: "asked".to_owned(),
        of,
    }
}

/// One letter per act: nothing, start, halt, finish, cancel, lose; in upper case if the start is to be noted.
fn letters(state: &State) -> String {
    let letter = |step: Step| {
        let letter = match step.act {
            Act::Nothing => 'n',
            Act::Start => 's',
            Act::Stop => 'h',
            Act::Finish => 'f',
            Act::Cancel => 'c',
            Act::Lose => 'l',
        };
        if step.note_start {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    };
    INPUTS.iter().map(|input| letter(state.step(*input))).collect()
}

#[test]
fn every_state_answers_every_input() {
    // cleared, stop decided, started, listed unspawned, listed, listed stopping, absent same, absent other, ended
    for (state, expected) in [
        (State::Waiting, "nnNnNNnnf"),
        (State::Starting(Told::Unrecorded), "snNnNNnnf"),
        (State::Starting(Told::Owed), "snNnNNssf"),
        (State::Starting(Told::Yes), "snNnNNslf"),
        (State::Running(process()), "nnnnnnllf"),
        (
            State::BackingOff {
                until: Timestamp::from_millis(5),
            },
            "nnnnnnnnn",
        ),
        (
            State::Gated {
                until: Timestamp::from_millis(5),
            },
            "nnNnNNnnf",
        ),
        (stopping(Halted::Waiting), "ncHhHNccf"),
        (stopping(Halted::Starting(Told::Unrecorded)), "ccNhHNccf"),
        (stopping(Halted::Starting(Told::Owed)), "ccNhHNccf"),
        (stopping(Halted::Starting(Told::Yes)), "chNhHNclf"),
        (stopping(Halted::Running(process())), "nhnhhnllf"),
    ] {
        assert_eq!(letters(&state), expected, "{}, {:?}", state.word(), state.stage());
    }
}

#[test]
fn outcomes_follow_from_how_an_attempt_ended() {
    let asked = Some(Stopped::Asked);
    for (exit, stopped, ours, outcome, reason) in [
        (Exit::Code(0), None, false, Outcome::Succeeded, None),
        (Exit::Code(0), None, true, Outcome::Succeeded, None),
        (Exit::Code(3), None, false, Outcome::Failed, Some("exit code 3")),
        (Exit::Signal(11), None, false, Outcome::Failed, Some("signal 11")),
        (
            Exit::OverMemory { cap: 512 << 20 },
            None,
            false,
            Outcome::Failed,
            Some("over --memory-max 512M"),
        ),
        (Exit::Code(0), asked, true, Outcome::Cancelled, Some("asked")),
        (Exit::Signal(9), asked, true, Outcome::Cancelled, Some("asked")),
        (
            Exit::Code(0),
            Some(Stopped::Timeout),
            false,
            Outcome::TimedOut,
            Some("its timeout was over"),
        ),
        // It was being stopped when its time was up.
        (
            Exit::Signal(9),
            Some(Stopped::Deadline),
            true,
            Outcome::TimedOut,
            Some("its deadline was over"),
        ),
        (
            Exit::Signal(15),
            asked,
            false,
            Outcome::Cancelled,
            Some("the runner was stopped"),
        ),
    ] {
        let end = AttemptEnd {
            started_at: Timestamp::from_millis(0),
            pid: 7,
            finished_at: Timestamp::from_millis(1),
            exit,
            stopped,
            usage: crate::run::Usage::default(),
        };
        let found = super::outcome(&end, ours.then_some("asked"), &Codes::SUCCESS);
        assert_eq!(found, (outcome, reason.map(str::to_owned)), "{end:?}");
    }
}

#[test]
fn a_success_is_what_a_task_says_it_is() {
    let end = |code| AttemptEnd {
        started_at: Timestamp::from_millis(0),
        pid: 7,
        finished_at: Timestamp::from_millis(1),
        exit: Exit::Code(code),
        stopped: None,
        usage: crate::run::Usage::default(),
    };
    let success: Codes = [2, 3].into_iter().collect();
    let outcome = |code| super::outcome(&end(code), None, &success);
    assert_eq!(outcome(2), (Outcome::Succeeded, Some("exit code 2".to_owned())));
    assert_eq!(outcome(0), (Outcome::Failed, Some("exit code 0".to_owned())));
}
