//! What a definition asks for and never gets, since something else that it asks for, or the machine, is in the way.

use taskd_core::gates::Gates;
use taskd_core::policy::{Policies, TimeLimits};
use taskd_core::task::Definition;

/// A sentence for each.
pub(crate) fn contradictions(definition: &Definition) -> Vec<String> {
    let Definition { policies, gates, .. } = definition;
    let all = [
        too_long(&policies.time).map(str::to_owned),
        retried_success(policies),
        too_much_memory(gates, memory_of_the_machine()),
    ];
    all.into_iter().flatten().collect()
}

fn too_long(time: &TimeLimits) -> Option<&'static str> {
    let (timeout, deadline) = (time.timeout_ms?, time.deadline_ms?);
    (timeout > deadline).then_some("Its timeout is never over: its deadline comes first.")
}

fn retried_success(policies: &Policies) -> Option<String> {
    let code = policies
        .retry
        .on
        .codes
        .iter()
        .find(|code| policies.success.has(i32::from(*code)))?;
    Some(format!(
        "It is not retried after exit code {code}, which is a success: see --success-codes."
    ))
}

fn too_much_memory(gates: &Gates, bytes: Option<u64>) -> Option<String> {
    let (wanted, there) = (gates.min_memory?, bytes?);
    (wanted.get() > there).then(|| {
        format!(
            "Its gate stays closed: this machine has {} MiB of memory in all, fewer than --min-memory asks for.",
            there >> 20
        )
    })
}

/// Bytes, as proc_meminfo(5) says.
fn memory_of_the_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::testing::manual;

    #[test]
    fn what_never_comes_to_pass_is_said() {
        let mut task = manual("a");
        assert_eq!(contradictions(&task), [""; 0]);
        let time = &mut task.policies.time;
        (time.timeout_ms, time.deadline_ms) = (NonZeroU64::new(2), NonZeroU64::new(1));
        task.policies.retry.on.codes = [75, 0].into_iter().collect();
        task.gates.min_memory = NonZeroU64::new(u64::MAX);
        let said = contradictions(&task);
        for (what, word) in ["timeout", "exit code 0,", "memory"].into_iter().enumerate() {
            assert!(said[what].contains(word), "{said:?}");
        }
    }

    #[test]
    fn what_may_come_to_pass_is_not() {
        let mut task = manual("a");
        let time = &mut task.policies.time;
        (time.timeout_ms, time.deadline_ms) = (NonZeroU64::new(1), NonZeroU64::new(1));
        task.policies.retry.on.codes = [75].into_iter().collect();
        task.gates.min_memory = NonZeroU64::new(1);
        assert_eq!(contradictions(&task), [""; 0]);
        assert!(memory_of_the_machine().is_some());
        assert_eq!(too_much_memory(&task.gates, None), None);
    }
}
