//! Lists that are being made, and what comes to them meanwhile. Pure.

use std::collections::HashMap;

/// The lists that are being made.
#[derive(Debug)]
pub(super) struct Builds {
    epoch: u64,
    last: u64,
    /// By user.
    building: HashMap<i64, Vec<Build>>,
}

/// What happened to a list while it was being made.
#[derive(Debug)]
struct Build {
    number: u64,
    added: Vec<i64>,
    outdated: bool,
}

/// What a list that was put into the cache is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Whole: what is added from here on finds it there.
    Done,
    /// Without what was added after it was looked at.
    More,
    /// Of what has changed since.
    Outdated,
}

impl Builds {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, last: 0, building: HashMap::new() }
    }

    /// What the keys of all lists have in common, until all are outdated.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Begins a list; its number.
    pub(super) fn begin(&mut self, user: i64) -> u64 {
        self.last += 1;
        let build = Build { number: self.last, added: Vec::new(), outdated: false };
        self.building.entry(user).or_default().push(build);
        self.last
    }

    /// A post comes to the lists of some users.
    pub(super) fn add(&mut self, users: &[i64], post: i64) {
        for user in users {
            self.building.get_mut(user).into_iter().flatten().for_each(|build| build.added.push(post));
        }
    }

    /// What a user's list is made of has changed.
    pub(super) fn outdate(&mut self, user: i64) {
        self.building.get_mut(&user).into_iter().flatten().for_each(|build| build.outdated = true);
    }

    /// What all lists are made of may have changed.
    pub(super) fn outdate_all(&mut self, epoch: u64) {
        self.epoch = epoch.max(self.epoch + 1);
        self.building.values_mut().flatten().for_each(|build| build.outdated = true);
    }

    /// What came to a list past the first so many; `None` where it is outdated.
    pub(super) fn added(&self, user: i64, number: u64, seen: usize) -> Option<Vec<i64>> {
        let build = self.find(user, number)?;
        (!build.outdated).then(|| build.added[seen..].to_vec())
    }

    /// Ends a list that is in the cache with the first so many that came, unless more came.
    pub(super) fn end(&mut self, user: i64, number: u64, seen: usize) -> End {
        let end = match self.find(user, number) {
            Some(Build { outdated: false, added, .. }) if added.len() > seen => return End::More,
            Some(Build { outdated: false, .. }) => End::Done,
            _ => End::Outdated,
        };
        self.forget(user, number);
        end
    }

    /// Nobody makes this list any more.
    pub(super) fn forget(&mut self, user: i64, number: u64) {
        if let Some(builds) = self.building.get_mut(&user) {
            builds.retain(|build| build.number != number);
            if builds.is_empty() {
                self.building.remove(&user);
            }
        }
    }

    fn find(&self, user: i64, number: u64) -> Option<&Build> {
        self.building.get(&user)?.iter().find(|build| build.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_a_list_is_made_is_not_lost() {
        let mut builds = Builds::new(1);
        let (mine, other) = (builds.begin(7), builds.begin(7));
        builds.add(&[6, 7], 100);
        assert_eq!(builds.added(7, mine, 0), Some(vec![100]));
        builds.add(&[7], 101);
        assert_eq!(builds.end(7, mine, 1), End::More);
        assert_eq!(builds.added(7, mine, 1), Some(vec![101]));
        assert_eq!(builds.end(7, mine, 2), End::Done);
        assert_eq!(builds.end(7, other, 0), End::More, "each list has its own count");
        builds.forget(7, other);
        assert!(builds.building.is_empty(), "nothing is left");
    }

    #[test]
    fn a_list_of_what_has_changed_is_not_kept() {
        let mut builds = Builds::new(5);
        let (mine, other) = (builds.begin(7), builds.begin(8));
        builds.outdate(7);
        assert_eq!(builds.added(7, mine, 0), None);
        assert_eq!(builds.end(7, mine, 0), End::Outdated);
        builds.outdate_all(3);
        assert_eq!(builds.epoch(), 6, "it never goes back");
        assert_eq!(builds.end(8, other, 0), End::Outdated);
        assert!(builds.building.is_empty());
    }
}
