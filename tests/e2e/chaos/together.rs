//! How many attempts were live at once, by their own words. One says that it starts when it does, and that it ends before it
//! does, so it lives for longer than that; of one that says no end nothing is known but that it started.

use std::collections::HashSet;

use super::kinds::{Kind, Together};
use super::load::Load;
use super::truth::Fates;
use super::words::{Key, Word, Words};

/// Holds the order of all words against what may be live at once, and what waits for what.
pub fn check(load: &Load, words: &Words, fates: Fates) {
    for together in &load.together {
        never_too_many(together, words);
    }
    for (task, kind) in &load.tasks {
        if matches!(kind, Kind::Queue | Kind::After) {
            in_order(task, words, fates);
        }
    }
}

fn never_too_many(Together { tasks, most }: &Together, words: &Words) {
    let theirs: Vec<&Word> = words.order.iter().filter(|word| tasks.contains(&word.task)).collect();
    let name = |word: &Word| (word.task.clone(), word.attempt);
    let ending: HashSet<(String, Key)> = theirs
        .iter()
        .filter(|word| !word.is_start)
        .map(|word| name(word))
        .collect();
    let mut live = HashSet::new();
    for word in theirs {
        let name = name(word);
        if !word.is_start {
            live.remove(&name);
            continue;
        }
        assert!(live.len() < *most, "{name:?} started beside {live:?}");
        if ending.contains(&name) {
            live.insert(name);
        }
    }
}

/// Those that wait for each other start in the order of their numbers.
fn in_order(task: &str, words: &Words, fates: Fates) {
    let mut last = 0;
    for word in words.order.iter().filter(|word| word.task == task && word.is_start) {
        let (run, ..) = word.attempt;
        let is_next = run > last || (fates == Fates::Lost && run == last);
        assert!(is_next, "{task}/{run} started after {task}/{last}");
        last = run;
    }
}
