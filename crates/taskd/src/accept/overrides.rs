//! What single runs are given beside what their tasks say.

use taskd_core::overrides::Overrides;
use taskd_core::task::Definition;
use taskd_wire::client as wire;
use taskd_wire::refusal::Refusal;

use super::{arguments_bytes, bad, environment, within};

/// What was typed for a run.
///
/// # Errors
/// The first variable or argument that no process can have, or that is not for a user to set.
pub(crate) fn overrides(typed: wire::Overrides) -> Result<Overrides, Refusal> {
    if let Some(text) = typed.args.iter().find(|text| text.contains('\0')) {
        return Err(bad("argument", text, "an argument cannot hold a NUL character", None));
    }
    Ok(Overrides {
        env: environment(typed.env)?,
        args: typed.args,
        skip_gates: typed.skip_gates,
    })
}

/// Checks that a run of a task can be given so much: at most `limit` bytes of arguments and variables, with those of its
/// task.
///
/// # Errors
/// [`Refusal::Limit`].
pub(crate) fn fit(overrides: &Overrides, definition: &Definition, limit: u64) -> Result<(), Refusal> {
    let action = overrides.action(&definition.action);
    within(
        "arguments",
        limit,
        arguments_bytes(&action, &overrides.env(&definition.env)),
    )
}

#[cfg(test)]
mod tests {
    use taskd_core::task::Action;
    use taskd_wire::definition::EnvVar;

    use super::*;

    fn typed(name: &str, value: &str, args: &[&str]) -> wire::Overrides {
        wire::Overrides {
            env: vec![EnvVar {
                name: name.into(),
                value: value.into(),
            }],
            args: args.iter().map(|text| (*text).to_owned()).collect(),
            skip_gates: false,
        }
    }

    #[test]
    fn what_no_run_can_be_given_is_refused() {
        let field = |typed| match overrides(typed) {
            Err(Refusal::BadField { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        for (name, value) in [
            ("", "x"),
            ("A=B", "x"),
            ("A", "\0"),
            ("TASKD_RUN", "7"),
            ("TRACEPARENT", ""),
        ] {
            assert_eq!(field(typed(name, value, &[])), "env", "{name}");
        }
        assert_eq!(field(typed("A", "1", &["fine", "a\0b"])), "argument");
        assert!(overrides(typed("A", "", &["", "--", "a b"])).is_ok());
    }

    #[test]
    fn a_run_has_no_more_arguments_than_a_task() {
        let definition = Definition {
            action: Action::Exec {
                argv: vec!["abcd".into()],
            },
            env: vec![("A".into(), "1234".into())],
            ..crate::testing::manual("t")
        };
        let with = |value: &str, args: &[&str]| overrides(typed("A", value, args)).expect("it is right");
        // 5 bytes of the command, 4 of the argument, 7 of the variable, which takes the place of another.
        assert_eq!(fit(&with("1234", &["abc"]), &definition, 16), Ok(()));
        let refused = fit(&with("12345", &["abc"]), &definition, 16);
        assert!(
            matches!(
                refused,
                Err(Refusal::Limit {
                    limit: 16,
                    actual: 17,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}
