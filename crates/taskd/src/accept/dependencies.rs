//! The tasks that another comes after or requires, as typed.

use taskd_core::dependency::{UPSTREAMS_MAX, Upstream, Upstreams};
use taskd_core::requirement::{REQUIRED_MAX, Requirement};
use taskd_core::task::When;
use taskd_wire::refusal::Refusal;

use super::{bad, narrow, within};

/// What comes after these tasks: all, or any of them.
pub(super) fn after(typed: &[String], any: bool) -> Result<When, Refusal> {
    let field = if any { "after-any" } else { "after" };
    if typed.is_empty() {
        return Err(bad(
            field,
            "",
            "it names no task",
            Some("write the name of a task, or several as a,b"),
        ));
    }
    within("tasks that one comes after", UPSTREAMS_MAX as u64, typed.len() as u64)?;
    let mut of: Vec<Upstream> = Vec::with_capacity(typed.len());
    for text in typed {
        let upstream = upstream(field, text)?;
        if of.iter().any(|other| other.task == upstream.task) {
            let problem = format!("{} is named twice", upstream.task);
            let cure = "name each task once; :finished stands for every end";
            return Err(bad(field, text, problem, Some(cure)));
        }
        of.push(upstream);
    }
    Ok(When::After(Upstreams { of, any }))
}

fn upstream(field: &str, text: &str) -> Result<Upstream, Refusal> {
    Upstream::parse(text).map_err(|error| Refusal::BadField {
        field: field.to_owned(),
        text: text.to_owned(),
        at: error.span().map(|span| (narrow(span.start), narrow(span.len()))),
        problem: error.to_string(),
        cure: Some(error.cure().to_owned()),
    })
}

/// The tasks whose last run must have succeeded.
pub(super) fn requires(typed: &[String]) -> Result<Vec<Requirement>, Refusal> {
    within("tasks that one requires", REQUIRED_MAX as u64, typed.len() as u64)?;
    let mut of: Vec<Requirement> = Vec::with_capacity(typed.len());
    for text in typed {
        let requirement = Requirement::parse(text).map_err(|error| Refusal::BadField {
            field: "require".to_owned(),
            text: text.clone(),
            at: error.span().map(|span| (narrow(span.start), narrow(span.len()))),
            problem: error.to_string(),
            cure: Some(error.cure()),
        })?;
        if of.iter().any(|other| other.task == requirement.task) {
            let problem = format!("{} is named twice", requirement.task);
            return Err(bad("require", text, problem, Some("name each task once")));
        }
        of.push(requirement);
    }
    Ok(of)
}
