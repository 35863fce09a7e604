//! Records of definitions.

use rusqlite::{OptionalExtension, params};
use taskd_core::pause::PauseScope;
use taskd_core::task::{Definition, ImportId, Owner, TaskId};
use taskd_core::time::Timestamp;

use super::Applier;
use crate::changes::{self, Change, ChangeKind};
use crate::columns::{
    DEFINITION, DefinitionColumns, OUTLINE, OutlineReader, StoredTask, bits, definition_sum, import_sum, outline_sum,
    stored_task,
};
use crate::dependencies;
use crate::error::Fault;
use crate::histories;

impl Applier<'_> {
    pub(super) fn task_added(
        &mut self,
        id: TaskId,
        owner: Owner,
        at: Timestamp,
        definition: &Definition,
    ) -> Result<(), Fault> {
        self.tally.seen(at);
        let at = at.as_millis();
        let columns = DefinitionColumns::of(definition)?;
        let DefinitionColumns {
            name, enabled, when, ..
        } = &columns;
        self.sql(
            "INSERT INTO tasks (id, owner, name, enabled, kind, expr, tz, interval_ms, anchor_ms, at_ms, policies, sum,
                                created_at, changed_at, definition_sum, definition, options)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            bits(id.0),
            owner.0,
            name,
            enabled,
            when.kind,
            when.expr,
            when.tz,
            when.interval_ms,
            when.anchor_ms,
            when.at_ms,
            columns.policies,
            outline_sum(id, owner, name, *enabled, when, &columns.policies),
            at,
            definition_sum(id, at, at, &columns.definition),
            columns.definition,
            when.options,
        ])?;
        self.sql("INSERT INTO marks (task, mark, last_run) VALUES (?1, ?2, 0)")?
            .execute(params![bits(id.0), at])?;
        if !definition.history.is_default() {
            histories::set(self.db, id, definition.history)?;
        }
        self.tally.tasks += 1;
        self.tally.last_task = self.tally.last_task.max(id.0);
        Ok(())
    }

    pub(super) fn import_begun(&mut self, import: ImportId, last: TaskId) -> Result<(), Fault> {
        self.sql("INSERT INTO imports (first, last, sum) VALUES (?1, ?2, ?3)")?
            .execute([bits(import.0), bits(last.0), import_sum(import.0, last.0)])?;
        self.tally.last_task = self.tally.last_task.max(last.0);
        Ok(())
    }

    pub(super) fn import_ended(&mut self, import: ImportId) -> Result<(), Fault> {
        self.sql("DELETE FROM imports WHERE first = ?1")?
            .execute([bits(import.0)])?;
        Ok(())
    }

    pub(super) fn import_dropped(&mut self, import: ImportId, from: TaskId) -> Result<(), Fault> {
        let last: Option<i64> = self
            .sql("SELECT last FROM imports WHERE first = ?1")?
            .query_row([bits(import.0)], |row| row.get(0))
            .optional()?;
        let last = last.ok_or_else(|| Fault::Unfit(format!("there is no import {} to drop", import.0)))?;
        let gone = [bits(from.0), last];
        let removed = self
            .sql("DELETE FROM tasks WHERE id BETWEEN ?1 AND ?2")?
            .execute(gone)?;
        self.sql("DELETE FROM marks WHERE task BETWEEN ?1 AND ?2")?
            .execute(gone)?;
        self.tally.tasks -= i64::try_from(removed).unwrap_or(i64::MAX);
        if from.0 == import.0 {
            return self.import_ended(import);
        }
        let last = from.0 - 1;
        self.sql("UPDATE imports SET last = ?2, sum = ?3 WHERE first = ?1")?
            .execute([bits(import.0), bits(last), import_sum(import.0, last)])?;
        Ok(())
    }

    pub(super) fn task_changed(
        &mut self,
        id: TaskId,
        at: Timestamp,
        definition: &Definition,
        mark: Option<Timestamp>,
        by: &str,
    ) -> Result<(), Fault> {
        let old = self.stored(id)?;
        let other_times = old.definition.when != definition.when;
        let change = |kind, schedule| Change {
            scope: PauseScope::Task(id),
            at,
            kind,
            by: by.to_owned(),
            until: None,
            note: None,
            schedule,
        };
        if old.definition.enabled != definition.enabled {
            changes::keep(self.db, &change(switched(definition.enabled), None))?;
        }
        if other_times {
            let schedule = Some(old.definition.when.clone());
            changes::keep(self.db, &change(ChangeKind::Rescheduled, schedule))?;
        } else if old.definition.enabled == definition.enabled {
            changes::keep(self.db, &change(ChangeKind::Changed, None))?;
        }
        let is_enabled = definition.enabled && !old.definition.enabled;
        if is_enabled || old.definition.when.count() != definition.when.count() {
            self.count_anew(id)?;
        }
        self.write_definition(id, at, definition, &old)?;
        mark.map_or(Ok(()), |mark| self.begin_anew(id, mark))
    }

    pub(super) fn task_switched(
        &mut self,
        id: TaskId,
        at: Timestamp,
        enabled: bool,
        mark: Option<Timestamp>,
        by: &str,
    ) -> Result<(), Fault> {
        let old = self.stored(id)?;
        let mut definition = old.definition.clone();
        definition.enabled = enabled;
        let change = Change {
            scope: PauseScope::Task(id),
            at,
            kind: switched(enabled),
            by: by.to_owned(),
            until: None,
            note: None,
            schedule: None,
        };
        changes::keep(self.db, &change)?;
        if enabled {
            self.count_anew(id)?;
        }
        self.write_definition(id, at, &definition, &old)?;
        mark.map_or(Ok(()), |mark| self.begin_anew(id, mark))
    }

    /// Runs by its schedule are counted from the first again.
    fn count_anew(&mut self, id: TaskId) -> Result<(), Fault> {
        self.sql("DELETE FROM counts WHERE task = ?1")?.execute([bits(id.0)])?;
        Ok(())
    }

    /// A task that is there, to be changed.
    fn stored(&self, id: TaskId) -> Result<StoredTask, Fault> {
        let found = self
            .db
            .prepare_cached(&format!(
                "SELECT {OUTLINE}, {DEFINITION} FROM tasks t WHERE id = ?1 AND removed_at IS NULL"
            ))?
            .query_row([bits(id.0)], |row| Ok(stored_task(&mut OutlineReader::default(), row)))
            .optional()?;
        let (_, stored) = found.ok_or_else(|| Fault::Unfit(format!("there is no task {} to change", id.0)))??;
        Ok(stored)
    }

    fn write_definition(
        &mut self,
        id: TaskId,
        at: Timestamp,
        definition: &Definition,
        old: &StoredTask,
    ) -> Result<(), Fault> {
        self.tally.seen(at);
        let columns = DefinitionColumns::of(definition)?;
        let DefinitionColumns {
            name, enabled, when, ..
        } = &columns;
        self.sql(
            "UPDATE tasks SET name = ?2, enabled = ?3, kind = ?4, expr = ?5, tz = ?6, interval_ms = ?7, anchor_ms = ?8,
                    at_ms = ?9, policies = ?10, sum = ?11, changed_at = ?12, definition_sum = ?13, definition = ?14,
                    options = ?15
             WHERE id = ?1",
        )?
        .execute(params![
            bits(id.0),
            name,
            enabled,
            when.kind,
            when.expr,
            when.tz,
            when.interval_ms,
            when.anchor_ms,
            when.at_ms,
            columns.policies,
            outline_sum(id, old.owner, name, *enabled, when, &columns.policies),
            at.as_millis(),
            definition_sum(id, old.created_at.as_millis(), at.as_millis(), &columns.definition),
            columns.definition,
            when.options,
        ])?;
        if definition.history != old.definition.history {
            histories::set(self.db, id, definition.history)?;
            // What is too much by the new bounds goes at once.
            self.tally.other_histories.push(id);
        }
        Ok(())
    }

    /// What came before this mark owes nothing, nor do the ends that it has kept.
    fn begin_anew(&mut self, id: TaskId, mark: Timestamp) -> Result<(), Fault> {
        dependencies::unlatched_all(self.db, id)?;
        self.set_mark(id, mark)
    }

    /// The row stays, since its history may be asked for; it goes with the last of that.
    pub(super) fn task_removed(&mut self, id: TaskId, at: Timestamp) -> Result<(), Fault> {
        self.tally.seen(at);
        let removed = self
            .sql("UPDATE tasks SET removed_at = ?2 WHERE id = ?1 AND removed_at IS NULL")?
            .execute(params![bits(id.0), at.as_millis()])?;
        if removed == 0 {
            return Err(Fault::Unfit(format!("there is no task {} to remove", id.0)));
        }
        self.sql("DELETE FROM marks WHERE task = ?1")?.execute([bits(id.0)])?;
        self.sql("DELETE FROM pauses WHERE task = ?1")?.execute([bits(id.0)])?;
        dependencies::removed(self.db, id)?;
        self.count_anew(id)?;
        self.tally.tasks -= 1;
        Ok(())
    }
}

fn switched(enabled: bool) -> ChangeKind {
    if enabled {
        ChangeKind::Enabled
    } else {
        ChangeKind::Disabled
    }
}
