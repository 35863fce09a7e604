//! Whom the commands of a task run as.

use std::fs;

use taskd_core::process::{nearest_user, parse_user};
use taskd_runner::{NoUser, user_id};
use taskd_wire::refusal::Refusal;

use super::bad;
use super::process::unreadable;
use crate::powers::Powers;

/// Where the accounts of the machine itself are, from which one that was mistyped is guessed.
const ACCOUNTS: &str = "/etc/passwd";

/// A user that this daemon may have commands run as.
pub(super) fn user(typed: &str, powers: &Powers) -> Result<String, Refusal> {
    let user = parse_user(typed).map_err(|error| unreadable("user", typed, error))?;
    if !powers.may_become(&user) {
        let problem = "only root may run commands as another user";
        let cure = "leave it out, or give the task to the system's daemon (sudo taskctl) or to a daemon of that user";
        return Err(bad("user", typed, problem, Some(cure)));
    }
    Ok(user)
}

/// Whether there is such a user, as a start will look. It may block.
pub(crate) fn known_user(user: &str) -> Result<(), Refusal> {
    let error = match user_id(user) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let near = || {
        let accounts = fs::read_to_string(ACCOUNTS).unwrap_or_default();
        let names = accounts.lines().filter_map(|line| line.split(':').next());
        nearest_user(user, names).map(|near| format!("did you mean {near}?"))
    };
    let cure = match error {
        NoUser::NoAccount => near().unwrap_or_else(|| "name one that `getent passwd` shows".to_owned()),
        NoUser::Unreadable(_) => "try again when they can be".to_owned(),
        NoUser::NoNumber => "name another".to_owned(),
    };
    Err(bad("user", user, error.to_string(), Some(&cure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(result: Result<impl std::fmt::Debug, Refusal>) -> (String, String) {
        match result {
            Err(Refusal::BadField {
                field, problem, cure, ..
            }) if field == "user" => (problem, cure.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_root_may_have_commands_run_as_another() {
        assert_eq!(user("ann", &Powers::all()).expect("it may"), "ann");
        assert_eq!(user("007", &Powers::all()).expect("it may"), "7");
        // What `Powers::none` is itself.
        assert!(user("1000", &Powers::none()).is_ok());
        for other in ["0", "root", "1001", "no-such-user-here"] {
            let (problem, cure) = refused(user(other, &Powers::none()));
            assert!(
                problem.contains("only root") && cure.contains("sudo"),
                "{problem}: {cure}"
            );
        }
        let (problem, _) = refused(user("a b", &Powers::all()));
        assert!(problem.contains("no name of a user"), "{problem}");
    }

    #[test]
    fn a_user_without_an_account_is_refused_with_one_like_it() {
        assert!(known_user("root").is_ok() && known_user("0").is_ok());
        assert_eq!(
            refused(known_user("rooot")),
            ("there is no such account".to_owned(), "did you mean root?".to_owned())
        );
        let (_, cure) = refused(known_user("no-such-user-here"));
        assert!(cure.contains("getent"), "{cure}");
    }
}
