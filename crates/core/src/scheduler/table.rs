//! What is known of tasks by their ids, which count up and are never used again: ordered tables of plain rows. A tree would leave
//! half of each node empty when keys only grow.

use crate::task::TaskId;

/// Most rows of one shelf.
const SHELF: usize = 512;

/// Rows in order of their ids, on shelves of bounded length, so that no change moves more than one shelf.
pub(super) struct Table<T> {
    /// None is empty.
    shelves: Vec<Vec<(TaskId, T)>>,
    rows: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            shelves: Vec::new(),
            rows: 0,
        }
    }
}

impl<T> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&T> {
        let (shelf, place) = self.place(id);
        let (_, row) = self.shelves.get(shelf)?.get(place.ok()?)?;
        Some(row)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut T> {
        let (shelf, place) = self.place(id);
        let (_, row) = self.shelves.get_mut(shelf)?.get_mut(place.ok()?)?;
        Some(row)
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.place(id).1.is_ok()
    }

    /// Puts a row in, in place of one with the same id.
    pub(super) fn insert(&mut self, id: TaskId, row: T) {
        let (shelf, place) = self.place(id);
        match (self.shelves.get_mut(shelf), place) {
            (Some(rows), Ok(place)) => rows[place] = (id, row),
            (Some(rows), Err(place)) => {
                self.rows += 1;
                if rows.len() < SHELF {
                    rows.insert(place, (id, row));
                } else if place == SHELF {
                    self.shelves.insert(shelf + 1, vec![(id, row)]);
                } else {
                    let rest = rows.split_off(place);
                    rows.push((id, row));
                    self.shelves.insert(shelf + 1, rest);
                }
            }
            (None, _) => {
                self.rows += 1;
                self.shelves.push(vec![(id, row)]);
            }
        }
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<T> {
        let (shelf, place) = self.place(id);
        let rows = self.shelves.get_mut(shelf)?;
        let (_, row) = rows.remove(place.ok()?);
        self.rows -= 1;
        if rows.is_empty() {
            self.shelves.remove(shelf);
        } else if rows.len() < rows.capacity() / 4 {
            rows.shrink_to_fit();
        }
        Some(row)
    }

    /// All rows in order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &T)> {
        self.shelves.iter().flatten().map(|(id, row)| (*id, row))
    }

    /// The shelf that an id stands on or would be put on, and its place there.
    fn place(&self, id: TaskId) -> (usize, Result<usize, usize>) {
        let after = self
            .shelves
            .partition_point(|rows| rows.first().is_some_and(|(first, _)| *first <= id));
        let shelf = after.saturating_sub(1);
        let place = match self.shelves.get(shelf) {
            Some(rows) => rows.binary_search_by_key(&id, |(id, _)| *id),
            None => Err(0),
        };
        (shelf, place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::Policies;
    use crate::schedule::Schedule;
    use crate::scheduler::tasks::{Place, Task};
    use crate::task::{Owner, TaskName};
    use crate::time::Timestamp;

    fn task(last_run: u64) -> Task {
        Task {
            name: TaskName::parse("a").unwrap(),
            written: None,
            schedule: Schedule::Manual,
            mark: Timestamp::MIN,
            next: Timestamp::MAX,
            last_run,
            last_outcome: None,
            policies: std::sync::Arc::new(Policies::default()),
            owner: Owner(0),
            enabled: true,
            reserved: false,
            place: Place::Out,
        }
    }

    #[test]
    fn a_table_answers_as_a_map_does() {
        let (mut table, mut map) = (Table::default(), BTreeMap::new());
        let mut state = 7_u64;
        let mut dice = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for step in 0..20_000 {
            // Mostly in order, now and then anywhere.
            let id = if dice(4) > 0 { 1000 + step } else { dice(21_000) };
            if dice(5) > 0 {
                table.insert(TaskId(id), task(step));
                map.insert(id, step);
            } else {
                let removed = table.remove(TaskId(id)).map(|task| task.last_run);
                assert_eq!(removed, map.remove(&id));
            }
            let id = dice(21_000);
            assert_eq!(table.get(TaskId(id)).map(|task| task.last_run), map.get(&id).copied());
            assert_eq!(table.get_mut(TaskId(id)).is_some(), table.contains(TaskId(id)));
            assert_eq!(table.len(), map.len());
        }
        assert!(table.iter().map(|(id, task)| (id.0, task.last_run)).eq(map.clone()));
        for id in map.keys() {
            assert!(table.remove(TaskId(*id)).is_some());
        }
        assert_eq!((table.len(), table.shelves.len()), (0, 0));
    }
}
