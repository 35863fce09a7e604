//! How values stand in columns, and the sums that tell whether a definition is the one that was written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};
use taskd_core::dependency::Upstreams;
use taskd_core::gates::Gates;
use taskd_core::pause::Pause;
use taskd_core::policy::{History, OutputPolicy, Policies, Sharing};
use taskd_core::process::Process;
use taskd_core::schedule::DstRule;
use taskd_core::task::{Action, Definition, Label, Outline, Owner, TaskId, TaskName, Terms, When};
use taskd_core::time::Timestamp;

use crate::error::Fault;

/// The version of the JSON in `tasks.definition`.
const DEFINITION_VERSION: u32 = 1;

/// A number without sign, by its bits.
pub(crate) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// The columns of [`When`], and what has none of its own.
pub(crate) struct WhenColumns<'a> {
    pub(crate) kind: &'a str,
    pub(crate) expr: Option<&'a str>,
    pub(crate) tz: Option<&'a str>,
    pub(crate) interval_ms: Option<i64>,
    pub(crate) anchor_ms: Option<i64>,
    pub(crate) at_ms: Option<i64>,
    pub(crate) options: Option<Cow<'a, str>>,
}

/// What of an outline has no column of its own.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    dst: DstRule,
    /// Under which terms it is a schedule; of [`Terms::of`], all but the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Box<Terms>>,
    /// The tasks that it comes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Upstreams>,
    /// What the task is grouped by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Label>,
    /// What its runs share with those of other tasks.
    #[serde(default, skip_serializing_if = "Sharing::is_default")]
    sharing: Sharing,
}

impl Options {
    /// Nothing where it says nothing.
    fn write(&self) -> Result<Option<String>, serde_json::Error> {
        (*self != Options::default())
            .then(|| serde_json::to_string(self))
            .transpose()
    }
}

impl<'a> WhenColumns<'a> {
    pub(crate) fn of(when: &'a When, labels: &[Label], sharing: &Sharing) -> Result<Self, serde_json::Error> {
        let mut columns = WhenColumns {
            kind: "manual",
            expr: None,
            tz: None,
            interval_ms: None,
            anchor_ms: None,
            at_ms: None,
            options: None,
        };
        let mut options = Options {
            labels: labels.to_vec(),
            sharing: sharing.clone(),
            ..Options::default()
        };
        let first = match when {
            When::Termed(terms) => {
                let mut terms = terms.clone();
                // One without any cannot be, and would be read as manual.
                terms.of.drain(..1.min(terms.of.len()));
                options.terms = Some(terms);
                when.parts().first().unwrap_or(&When::Manual)
            }
            When::Manual | When::Cron { .. } | When::Every { .. } | When::At { .. } | When::Boot | When::After(_) => {
                when
            }
        };
        match first {
            When::Manual | When::Termed(_) => {}
            When::Cron { expr, tz, dst } => {
                columns.kind = "cron";
                columns.expr = Some(expr);
                columns.tz = Some(tz);
                options.dst = *dst;
            }
            When::Every { interval_ms, anchor } => {
                columns.kind = "every";
                columns.interval_ms = Some(bits(*interval_ms));
                columns.anchor_ms = Some(anchor.as_millis());
            }
            When::At { at, text, tz } => {
                columns.kind = "at";
                columns.at_ms = Some(at.as_millis());
                columns.expr = Some(text);
                columns.tz = tz.as_deref();
            }
            When::Boot => columns.kind = "boot",
            When::After(upstreams) => {
                columns.kind = "after";
                options.after = Some(upstreams.clone());
            }
        }
        columns.options = options.write()?.map(Cow::Owned);
        Ok(columns)
    }

    /// Nothing where it is of no known kind or has not what its kind needs.
    fn read(&self) -> Option<(When, Vec<Label>, Sharing)> {
        let Options {
            dst,
            terms,
            after,
            labels,
            sharing,
        } = match &self.options {
            Some(json) => serde_json::from_str(json).ok()?,
            None => Options::default(),
        };
        let when = match self.kind {
            "manual" => When::Manual,
            "cron" => When::Cron {
                expr: self.expr?.to_owned(),
                tz: self.tz?.to_owned(),
                dst,
            },
            "every" => When::Every {
                interval_ms: self.interval_ms?.cast_unsigned(),
                anchor: Timestamp::from_millis(self.anchor_ms?),
            },
            "at" => When::At {
                at: Timestamp::from_millis(self.at_ms?),
                text: self.expr?.to_owned(),
                tz: self.tz.map(str::to_owned),
            },
            "boot" => When::Boot,
            "after" => When::After(after?),
            _ => return None,
        };
        let when = match terms {
            None => when,
            Some(mut terms) => {
                terms.of.insert(0, when);
                When::Termed(terms)
            }
        };
        Some((when, labels, sharing))
    }
}

/// A sum over values in order. It finds what a disk or a stray write did; it is no defence against people.
struct Sum(u64);

impl Sum {
    fn new() -> Self {
        Sum(0x7461_736b_6473_756d)
    }

    /// Each step is a bijection of the state, so no change of a single word goes unseen.
    fn word(mut self, word: u64) -> Self {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self
    }

    fn number(self, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.word(1).word(number.cast_unsigned()),
            None => self.word(0),
        }
    }

    fn text(self, text: Option<&str>) -> Self {
        let Some(text) = text else { return self.word(0) };
        let mut sum = self.word(text.len() as u64 + 1);
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            sum = sum.word(u64::from_le_bytes(word));
        }
        sum
    }

    fn value(self) -> i64 {
        (self.0 ^ (self.0 >> 32)).cast_signed()
    }
}

/// `tasks.sum`: over the columns that decisions need.
pub(crate) fn outline_sum(
    id: TaskId,
    owner: Owner,
    name: &str,
    enabled: bool,
    when: &WhenColumns<'_>,
    policies: &str,
) -> i64 {
    let sum = Sum::new()
        .word(id.0)
        .word(u64::from(owner.0))
        .text(Some(name))
        .word(u64::from(enabled))
        .text(Some(when.kind))
        .text(when.expr)
        .text(when.tz)
        .number(when.interval_ms)
        .number(when.anchor_ms)
        .number(when.at_ms)
        .text(Some(policies));
    // The sums of rows that were written before there was this column stay as they are.
    match &when.options {
        Some(options) => sum.text(Some(options)).value(),
        None => sum.value(),
    }
}

/// `pauses.sum`.
pub(crate) fn pause_sum(task: i64, pause: &Pause) -> i64 {
    Sum::new()
        .word(task.cast_unsigned())
        .word(pause.since.as_millis().cast_unsigned())
        .number(pause.until.map(Timestamp::as_millis))
        .text(Some(&pause.by))
        .text(pause.note.as_deref())
        .value()
}

/// `calendars.sum`.
pub(crate) fn calendar_sum(name: &str, body: &str) -> i64 {
    Sum::new().text(Some(name)).text(Some(body)).value()
}

/// `pools.sum`.
pub(crate) fn pool_sum(owner: Owner, kind: &str, name: &str, most: i64) -> i64 {
    Sum::new()
        .word(u64::from(owner.0))
        .text(Some(kind))
        .text(Some(name))
        .number(Some(most))
        .value()
}

/// `histories.sum`.
pub(crate) fn history_sum(task: i64, runs: Option<i64>, age_ms: Option<i64>) -> i64 {
    Sum::new()
        .word(task.cast_unsigned())
        .number(runs)
        .number(age_ms)
        .value()
}

/// `imports.sum`.
pub(crate) fn import_sum(first: u64, last: u64) -> i64 {
    Sum::new().word(first).word(last).value()
}

/// `tasks.definition_sum`: over the rest.
pub(crate) fn definition_sum(id: TaskId, created_at: i64, changed_at: i64, definition: &str) -> i64 {
    Sum::new()
        .word(id.0)
        .word(created_at.cast_unsigned())
        .word(changed_at.cast_unsigned())
        .text(Some(definition))
        .value()
}

/// What of a [`Definition`] has no column, written.
#[derive(Serialize)]
struct Rest<'a> {
    version: u32,
    action: &'a Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Process::is_default")]
    process: &'a Process,
    #[serde(skip_serializing_if = "OutputPolicy::is_default")]
    output: &'a OutputPolicy,
    #[serde(skip_serializing_if = "History::is_default")]
    history: History,
    #[serde(skip_serializing_if = "Gates::none")]
    gates: &'a Gates,
}

/// What of a [`Definition`] has no column, read.
#[derive(Deserialize)]
struct RestRead {
    version: u32,
    action: Action,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    env: Vec<(String, String)>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    process: Process,
    #[serde(default)]
    output: OutputPolicy,
    #[serde(default)]
    history: History,
    #[serde(default)]
    gates: Gates,
}

/// A definition in columns.
pub(crate) struct DefinitionColumns<'a> {
    pub(crate) name: &'a str,
    pub(crate) enabled: bool,
    pub(crate) when: WhenColumns<'a>,
    pub(crate) policies: String,
    pub(crate) definition: String,
}

impl<'a> DefinitionColumns<'a> {
    pub(crate) fn of(definition: &'a Definition) -> Result<Self, Fault> {
        let Definition {
            name,
            when,
            action,
            cwd,
            env,
            description,
            labels,
            enabled,
            policies,
            sharing,
            process,
            output,
            history,
            gates,
        } = definition;
        let unfit = |error: serde_json::Error| Fault::Unfit(format!("the definition of {name} is no JSON: {error}"));
        Ok(DefinitionColumns {
            name: name.as_str(),
            enabled: *enabled,
            when: WhenColumns::of(when, labels, sharing).map_err(unfit)?,
            policies: serde_json::to_string(policies).map_err(unfit)?,
            definition: serde_json::to_string(&Rest {
                version: DEFINITION_VERSION,
                action,
                cwd: cwd.as_deref(),
                env,
                description: description.as_deref(),
                process,
                output,
                history: *history,
                gates,
            })
            .map_err(unfit)?,
        })
    }
}

/// The columns that [`OutlineReader`] reads, in its order; they begin a selection.
pub(crate) const OUTLINE: &str =
    "t.id, t.owner, t.name, t.enabled, t.kind, t.expr, t.tz, t.interval_ms, t.anchor_ms, t.at_ms, t.options, t.policies,
     t.sum";

/// The number of columns in [`OUTLINE`].
pub(crate) const OUTLINE_WIDTH: usize = 13;

/// Reads outlines. It remembers the policies it has read, since most tasks have the same.
#[derive(Default)]
pub(crate) struct OutlineReader {
    policies: HashMap<String, Policies>,
}

impl OutlineReader {
    /// Most sets of policies remembered.
    const REMEMBERED: usize = 64;

    pub(crate) fn read(&mut self, row: &Row<'_>) -> Result<(TaskId, Owner, Outline), Fault> {
        let id = TaskId(number(row, 0)?.cast_unsigned());
        let owner = number(row, 1)?;
        let name = text(row, 2)?;
        let enabled = number(row, 3)? != 0;
        let when = WhenColumns {
            kind: text(row, 4)?,
            expr: optional_text(row, 5)?,
            tz: optional_text(row, 6)?,
            interval_ms: optional_number(row, 7)?,
            anchor_ms: optional_number(row, 8)?,
            at_ms: optional_number(row, 9)?,
            options: optional_text(row, 10)?.map(Cow::Borrowed),
        };
        let policies = text(row, 11)?;
        let damaged = |what: &str| Fault::Damaged(format!("task {}: {what}", id.0));
        let owner = Owner(u32::try_from(owner).map_err(|_| damaged("its owner is no uid"))?);
        if outline_sum(id, owner, name, enabled, &when, policies) != number(row, 12)? {
            return Err(damaged("its row does not agree with its sum"));
        }
        let (when, labels, sharing) = when.read().ok_or_else(|| damaged("its schedule is of no known kind"))?;
        let name = TaskName::parse(name).map_err(|error| damaged(&format!("its name is refused: {error}")))?;
        let policies = self
            .policies(policies)
            .map_err(|error| damaged(&format!("its policies are not known: {error}")))?;
        Ok((
            id,
            owner,
            Outline {
                name,
                when,
                labels,
                enabled,
                policies,
                sharing,
            },
        ))
    }

    fn policies(&mut self, json: &str) -> Result<Policies, serde_json::Error> {
        if let Some(policies) = self.policies.get(json) {
            return Ok(*policies);
        }
        let read = serde_json::from_str(json)?;
        if self.policies.len() >= Self::REMEMBERED {
            self.policies.clear();
        }
        match self.policies.entry(json.to_owned()) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(place) => Ok(*place.insert(read)),
        }
    }
}

/// The columns after [`OUTLINE`] from which a whole definition is made.
pub(crate) const DEFINITION: &str = "t.created_at, t.changed_at, t.definition, t.definition_sum";

/// A definition as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTask {
    /// The definition.
    pub definition: Definition,
    /// Its owner.
    pub owner: Owner,
    /// When the task was added.
    pub created_at: Timestamp,
    /// When its definition was last changed.
    pub changed_at: Timestamp,
}

/// How many bytes the part without columns has.
pub(crate) fn definition_bytes(row: &Row<'_>) -> Result<usize, Fault> {
    Ok(text(row, OUTLINE_WIDTH + 2)?.len())
}

/// Reads [`OUTLINE`] and [`DEFINITION`].
pub(crate) fn stored_task(outlines: &mut OutlineReader, row: &Row<'_>) -> Result<(TaskId, StoredTask), Fault> {
    let (id, owner, outline) = outlines.read(row)?;
    let created_at = number(row, OUTLINE_WIDTH)?;
    let changed_at = number(row, OUTLINE_WIDTH + 1)?;
    let json = text(row, OUTLINE_WIDTH + 2)?;
    let damaged = |what: &str| Fault::Damaged(format!("task {}: {what}", id.0));
    if definition_sum(id, created_at, changed_at, json) != number(row, OUTLINE_WIDTH + 3)? {
        return Err(damaged("its definition does not agree with its sum"));
    }
    let rest: RestRead =
        serde_json::from_str(json).map_err(|error| damaged(&format!("its definition cannot be read: {error}")))?;
    if rest.version > DEFINITION_VERSION {
        return Err(damaged(&format!(
            "its definition has version {}, and this taskd knows versions up to {DEFINITION_VERSION}",
            rest.version
        )));
    }
    let Outline {
        name,
        when,
        labels,
        enabled,
        policies,
        sharing,
    } = outline;
    let definition = Definition {
        name,
        when,
        action: rest.action,
        cwd: rest.cwd,
        env: rest.env,
        description: rest.description,
        labels,
        enabled,
        policies,
        sharing,
        process: rest.process,
        output: rest.output,
        history: rest.history,
        gates: rest.gates,
    };
    Ok((
        id,
        StoredTask {
            definition,
            owner,
            created_at: Timestamp::from_millis(created_at),
            changed_at: Timestamp::from_millis(changed_at),
        },
    ))
}

/// An integer column.
pub(crate) fn number(row: &Row<'_>, column: usize) -> Result<i64, Fault> {
    Ok(row.get_ref(column)?.as_i64()?)
}

/// An integer column that may be empty.
pub(crate) fn optional_number(row: &Row<'_>, column: usize) -> Result<Option<i64>, Fault> {
    Ok(row.get_ref(column)?.as_i64_or_null()?)
}

/// A column that holds a number without sign by its bits.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    number(row, column).map(i64::cast_unsigned)
}

/// A text column.
pub(crate) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Fault> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// A text column that may be empty.
pub(crate) fn optional_text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, Fault> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

/// An instant.
pub(crate) fn instant(row: &Row<'_>, column: usize) -> Result<Timestamp, Fault> {
    number(row, column).map(Timestamp::from_millis)
}

/// An instant that may not have come.
pub(crate) fn optional_instant(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(optional_number(row, column)?.map(Timestamp::from_millis))
}

/// A column that holds a word of a closed list.
pub(crate) fn word<T>(row: &Row<'_>, column: usize, known: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
    let word = text(row, column)?;
    known(word).ok_or_else(|| Fault::Damaged(format!("{word:?} is no known word")))
}

/// A column that holds a word of a closed list, or nothing.
pub(crate) fn optional_word<T>(
    row: &Row<'_>,
    column: usize,
    known: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => word(row, column, known).map(Some),
    }
}

/// A trace id.
pub(crate) fn trace(row: &Row<'_>, column: usize) -> Result<taskd_core::run::TraceId, Fault> {
    let id = optional_id(row, column)?;
    id.map(taskd_core::run::TraceId)
        .ok_or_else(|| Fault::Damaged("a trace id is missing".to_owned()))
}

/// An id of 16 bytes, most significant first, that may be empty.
pub(crate) fn optional_id(row: &Row<'_>, column: usize) -> Result<Option<u128>, Fault> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else {
        return Ok(None);
    };
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| Fault::Damaged("an id has not 16 bytes".to_owned()))?;
    Ok(Some(u128::from_be_bytes(bytes)))
}
