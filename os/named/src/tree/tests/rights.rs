//! Random changes by several callers, against a model of who may: owners and bits, leases, elections, and limits.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;

type Expected = std::result::Result<(), Code>;

const LIMITS: Limits = Limits { entries: 8, bytes: 24 };

/// What is fenced; `/own` is not, and may be changed by its owner alone.
const FENCED: &str = "/d";

/// Files, and the directories that hold them.
const FILES: [&str; 5] = ["/d/a", "/d/b", "/d/c", "/own/a", "/own/b"];
const DIRS: [(&str, u32); 2] = [(FENCED, 0o66), ("/own", 0o60)];

#[derive(Clone, Debug)]
enum What {
    Put { at: &'static str, perm: u32, ephemeral: bool, exclusive: bool, contents: String },
    Get { at: &'static str },
    Remove { at: &'static str },
    Rename { from: &'static str, to: &'static str },
    Elect,
    Resign,
    Ended { number: u64 },
}

/// Who does what, as the leader of which election.
#[derive(Clone, Debug)]
struct Step {
    who: usize,
    number: u64,
    election: Option<usize>,
    what: What,
}

#[derive(Clone, Debug)]
struct File {
    owner: usize,
    perm: u32,
    lease: Option<u64>,
    contents: String,
}

#[derive(Default)]
struct Model {
    files: BTreeMap<&'static str, File>,
    epochs: Vec<u64>,
    leader: Option<u64>,
}

fn principal(who: usize) -> Principal {
    Principal::parse(["alice", "bob", "carol"][who]).unwrap()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || select(FILES.to_vec());
    let put = (at(), select(vec![0o66, 0o64, 0o60, 0o44, 0o00]), any::<bool>(), any::<bool>(), "[xyz]{0,9}");
    let what = prop_oneof![
        5 => put.prop_map(|(at, perm, ephemeral, exclusive, contents)| What::Put { at, perm, ephemeral, exclusive, contents }),
        3 => at().prop_map(|at| What::Get { at }),
        2 => at().prop_map(|at| What::Remove { at }),
        3 => (at(), at()).prop_map(|(from, to)| What::Rename { from, to }),
        2 => Just(What::Elect),
        1 => Just(What::Resign),
        1 => (1u64..4).prop_map(|number| What::Ended { number }),
    ];
    let step = (0usize..3, 1u64..4, proptest::option::of(0usize..6), what);
    let step = step.prop_map(|(who, number, election, what)| Step { who, number, election, what });
    proptest::collection::vec(step, 0..50)
}

impl Model {
    fn entries(&self) -> u64 {
        let fences = u64::from(!self.epochs.is_empty());
        (DIRS.len() + self.files.len()) as u64 + u64::from(self.leader.is_some()) + fences
    }

    fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.contents.len() as u64).sum()
    }

    /// Whether an epoch is the last one, where that matters.
    fn fenced(&self, epoch: Option<u64>, paths: &[&str]) -> Expected {
        let concerns = paths.iter().any(|path| path.starts_with("/d/"));
        match (epoch, self.epochs.last()) {
            (Some(epoch), Some(last)) if concerns && epoch < *last => Err(Code::Stale),
            _ => Ok(()),
        }
    }

    /// Alice has made the directories.
    fn may_change(who: usize, path: &str) -> Expected {
        if path.starts_with("/d/") || who == 0 { Ok(()) } else { Err(Code::Denied) }
    }

    fn may(who: usize, file: &File, bit: u32) -> Expected {
        let digit = if file.owner == who { file.perm >> 3 } else { file.perm };
        if digit & bit != 0 { Ok(()) } else { Err(Code::Denied) }
    }

    fn apply(&mut self, step: &Step, epoch: Option<u64>) -> Expected {
        let who = step.who;
        match &step.what {
            What::Put { at, perm, ephemeral, exclusive, contents } => {
                self.fenced(epoch, &[at])?;
                let bytes = self.bytes() + contents.len() as u64;
                let entries = self.entries();
                match self.files.get_mut(at) {
                    Some(_) if *exclusive => return Err(Code::Exists),
                    Some(file) => {
                        Self::may(who, file, 2)?;
                        let grows = contents.len() > file.contents.len();
                        if grows && bytes - file.contents.len() as u64 > LIMITS.bytes {
                            return Err(Code::Quota);
                        }
                        file.contents.clone_from(contents);
                    }
                    None => {
                        Self::may_change(who, at)?;
                        if entries >= LIMITS.entries || (!contents.is_empty() && bytes > LIMITS.bytes) {
                            return Err(Code::Quota);
                        }
                        let lease = ephemeral.then_some(step.number);
                        let file = File { owner: who, perm: *perm, lease, contents: contents.clone() };
                        self.files.insert(at, file);
                    }
                }
            }
            What::Get { at } => Self::may(who, self.files.get(at).ok_or(Code::NotFound)?, 4)?,
            What::Remove { at } => {
                self.fenced(epoch, &[at])?;
                self.files.get(at).ok_or(Code::NotFound)?;
                Self::may_change(who, at)?;
                self.files.remove(at);
            }
            What::Rename { from, to } => {
                self.fenced(epoch, &[from, to])?;
                let file = self.files.get(from).cloned().ok_or(Code::NotFound)?;
                if from != to {
                    Self::may_change(who, from)?;
                    Self::may_change(who, to)?;
                    self.files.remove(from);
                    self.files.insert(to, file);
                }
            }
            What::Elect => {
                if self.leader.is_some() {
                    return Err(Code::Exists);
                }
                let new = 1 + u64::from(self.epochs.is_empty());
                if self.entries() + new > LIMITS.entries {
                    return Err(Code::Quota);
                }
                self.leader = Some(step.number);
            }
            What::Resign => drop(self.leader.take().ok_or(Code::NotFound)?),
            What::Ended { number } => {
                self.files.retain(|_, file| file.lease != Some(*number));
                self.leader = self.leader.filter(|leader| leader != number);
            }
        }
        Ok(())
    }
}

fn apply(world: &mut World, what: &What) -> Result<Option<Stat>> {
    let action = match what.clone() {
        What::Put { at, perm, ephemeral, exclusive, contents } => {
            Action::Put { path: path(at), new: New { perm, ephemeral }, exclusive, contents: contents.into() }
        }
        What::Get { at } => return world.get(at).map(|_| None),
        What::Remove { at } => Action::Remove { path: path(at), entry: None },
        What::Rename { from, to } => Action::Rename { from: path(from), to: path(to) },
        What::Elect => {
            let (path, fence) = (path("/leader"), Some(path(FENCED)));
            Action::Elect { path, perm: 0o66, fence, contents: Bytes::new() }
        }
        What::Resign => Action::Remove { path: path("/leader"), entry: None },
        What::Ended { number } => Action::Ended { pid: pid(number) },
    };
    Ok(match world.apply(action)? {
        Reply::Entry { stat, .. } => Some(stat),
        Reply::Done => None,
    })
}

proptest! {
    #[test]
    fn the_tree_lets_those_who_may(steps in steps()) {
        let (mut world, mut model) = (World::limited(LIMITS), Model::default());
        world.by.principal = principal(0);
        for (dir, perm) in DIRS {
            let new = New { perm, ephemeral: false };
            let (path, kind, target) = (path(dir), Kind::Directory, String::new());
            world.apply(Action::Create { path, kind, new, exclusive: true, target }).unwrap();
        }
        for step in steps {
            let epoch = step.election.and_then(|election| model.epochs.get(election).copied());
            world.by = Caller { principal: principal(step.who), pid: pid(step.number), ..world.by.clone() };
            world.fences = epoch.map(|epoch| (path(FENCED), epoch)).into_iter().collect();
            let done = apply(&mut world, &step.what);
            let expected = model.apply(&step, epoch);
            prop_assert_eq!(done.as_ref().map(|_| ()).map_err(|error| error.code), expected, "{:?}: {:?}", step, done);
            if let (What::Elect, Ok(Some(stat))) = (&step.what, &done) {
                prop_assert!(model.epochs.last().is_none_or(|last| *last < stat.version), "epochs grow");
                model.epochs.push(stat.version);
            }
            let expected = Usage { entries: model.entries(), bytes: model.bytes() };
            prop_assert_eq!(world.tree.usage(), expected, "after {:?}", step);
            world.by.kernel = true;
            for at in FILES {
                let found = world.tree.entry_at(&path(at), &world.by).ok();
                let told = found.map(|stat| (stat.owner, stat.perm, stat.lease));
                let expected = model.files.get(at).map(|file| {
                    let lease = file.lease.map(|number| pid(number).to_string()).unwrap_or_default();
                    (principal(file.owner).to_string(), file.perm, lease)
                });
                prop_assert_eq!(told, expected, "{} after {:?}", at, step);
            }
            world.by.kernel = false;
        }
    }
}
