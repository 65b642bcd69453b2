//! Random changes, against a model that is a flat map from paths to what is there.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::cell::RefCell;
use std::rc::Rc;

type Contents = Rc<RefCell<Vec<u8>>>;

#[derive(Clone, Debug)]
enum Thing {
    File(Contents),
    Directory,
    Mount(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Put { at: String, exclusive: bool, contents: String },
    Mkdir { at: String },
    Remove { at: String },
    Rename { from: String, to: String },
    Mount { at: String, number: u64 },
    Ended { number: u64 },
    Open { at: String },
    Write { handle: usize, offset: u64, data: String },
    Close { handle: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || {
        proptest::collection::vec(select(vec!["a", "b", "c"]), 1..5)
            .prop_map(|names| format!("/{}", names.join("/")))
    };
    let text = || "[x-z]{0,6}";
    let step = prop_oneof![
        4 => (at(), any::<bool>(), text()).prop_map(|(at, exclusive, contents)| Step::Put { at, exclusive, contents }),
        5 => at().prop_map(|at| Step::Mkdir { at }),
        2 => at().prop_map(|at| Step::Remove { at }),
        5 => (at(), at()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (at(), 0u64..3).prop_map(|(at, number)| Step::Mount { at, number }),
        1 => (0u64..3).prop_map(|number| Step::Ended { number }),
        2 => at().prop_map(|at| Step::Open { at }),
        2 => (0usize..4, 0u64..12, text()).prop_map(|(handle, offset, data)| Step::Write { handle, offset, data }),
        1 => (0usize..4).prop_map(|handle| Step::Close { handle }),
    ];
    proptest::collection::vec(step, 0..60)
}

#[derive(Default)]
struct Model {
    things: BTreeMap<String, Thing>,
    open: Vec<(Id, Contents)>,
}

impl Model {
    /// What is at a path; `stops`: whether a mount at its end is the entry itself.
    fn find(&self, at: &str, stops: bool) -> std::result::Result<Option<Thing>, Code> {
        let ends = at.match_indices('/').map(|(index, _)| index).skip(1);
        for end in ends {
            match self.things.get(&at[..end]) {
                None => return Err(Code::NotFound),
                Some(Thing::File(_)) => return Err(Code::NotDir),
                Some(Thing::Mount(_)) => return Err(Code::Moved),
                Some(Thing::Directory) => (),
            }
        }
        match self.things.get(at) {
            Some(Thing::Mount(_)) if !stops => Err(Code::Moved),
            found => Ok(found.cloned()),
        }
    }

    fn is_empty(&self, at: &str) -> bool {
        let below = format!("{at}/");
        !self.things.keys().any(|path| path.starts_with(&below))
    }

    fn put(&mut self, at: &str, exclusive: bool, contents: &str) -> std::result::Result<(), Code> {
        match self.find(at, exclusive)? {
            Some(_) if exclusive => return Err(Code::Exists),
            Some(Thing::File(old)) => *old.borrow_mut() = contents.as_bytes().to_vec(),
            Some(_) => return Err(Code::IsDir),
            None => {
                let new = Rc::new(RefCell::new(contents.as_bytes().to_vec()));
                self.things.insert(at.to_owned(), Thing::File(new));
            }
        }
        Ok(())
    }

    fn make(&mut self, at: &str, thing: Thing) -> std::result::Result<(), Code> {
        match (self.find(at, true)?, &thing) {
            (None, _) => drop(self.things.insert(at.to_owned(), thing)),
            (Some(Thing::Mount(before)), Thing::Mount(number)) if before == *number => (),
            _ => return Err(Code::Exists),
        }
        Ok(())
    }

    fn remove(&mut self, at: &str) -> std::result::Result<(), Code> {
        match self.find(at, true)?.ok_or(Code::NotFound)? {
            Thing::Directory if !self.is_empty(at) => Err(Code::NotEmpty),
            _ => {
                self.things.remove(at);
                Ok(())
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> std::result::Result<(), Code> {
        let both = match (self.find(from, true), self.find(to, true)) {
            (Err(Code::Moved), Err(Code::Moved)) if self.mount_of(from) == self.mount_of(to) => {
                return Err(Code::Moved);
            }
            (Err(code), _) if code != Code::Moved => return Err(code),
            (_, Err(code)) if code != Code::Moved => return Err(code),
            (Ok(source), Ok(target)) => (source, target),
            _ => return Err(Code::Unsupported),
        };
        let source = both.0.ok_or(Code::NotFound)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(&format!("{from}/")) {
            return Err(Code::Invalid);
        }
        match (&source, &both.1) {
            (_, Some(Thing::Mount(_))) => return Err(Code::Exists),
            (_, Some(Thing::Directory)) if !self.is_empty(to) => return Err(Code::NotEmpty),
            (Thing::Directory, Some(Thing::File(_))) => return Err(Code::NotDir),
            (Thing::File(_) | Thing::Mount(_), Some(Thing::Directory)) => return Err(Code::IsDir),
            _ => (),
        }
        let things = std::mem::take(&mut self.things);
        let moved = |path: &String| path == from || path.starts_with(&format!("{from}/"));
        let (moving, mut staying): (BTreeMap<_, _>, BTreeMap<_, _>) =
            things.into_iter().partition(|(path, _)| moved(path));
        staying
            .extend(moving.into_iter().map(|(path, thing)| (format!("{to}{}", &path[from.len()..]), thing)));
        self.things = staying;
        Ok(())
    }

    /// The mount above a path.
    fn mount_of(&self, at: &str) -> Option<&String> {
        let above = |path: &String| at.starts_with(&format!("{path}/"));
        self.things
            .iter()
            .find(|(path, thing)| matches!(thing, Thing::Mount(_)) && above(path))
            .map(|(path, _)| path)
    }

    fn usage(&self) -> Usage {
        let mut files: Vec<Contents> = Vec::new();
        let in_tree = self.things.values().filter_map(|thing| match thing {
            Thing::File(contents) => Some(contents),
            _ => None,
        });
        for contents in in_tree.chain(self.open.iter().map(|(_, contents)| contents)) {
            if !files.iter().any(|known| Rc::ptr_eq(known, contents)) {
                files.push(contents.clone());
            }
        }
        let others = self.things.values().filter(|thing| !matches!(thing, Thing::File(_))).count();
        let bytes = files.iter().map(|contents| contents.borrow().len() as u64).sum();
        Usage { entries: (files.len() + others) as u64, bytes }
    }
}

fn step(world: &mut World, model: &mut Model, step: Step) -> (Result<()>, std::result::Result<(), Code>) {
    match step {
        Step::Put { at, exclusive, contents } => {
            let before = world.stat(&at).map_or(0, |stat| stat.version);
            let done = world.entry(put(&at, &contents, exclusive));
            if let Ok((_, stat)) = &done {
                assert!(stat.version > before);
            }
            (done.map(drop), model.put(&at, exclusive, &contents))
        }
        Step::Mkdir { at } => (world.mkdir(&at).map(drop), model.make(&at, Thing::Directory)),
        Step::Remove { at } => (world.remove(&at).map(drop), model.remove(&at)),
        Step::Rename { from, to } => (world.rename(&from, &to).map(drop), model.rename(&from, &to)),
        Step::Mount { at, number } => {
            (world.mount(&at, "m1", number).map(drop), model.make(&at, Thing::Mount(number)))
        }
        Step::Ended { number } => {
            model.things.retain(|_, thing| !matches!(thing, Thing::Mount(other) if *other == number));
            (world.apply(Action::Ended { pid: pid(number) }).map(drop), Ok(()))
        }
        Step::Open { at } => {
            let id = world.tree.open(&path(&at), &world.by);
            let found = model.find(&at, false).and_then(|thing| thing.ok_or(Code::NotFound));
            if let (Ok(id), Ok(Thing::File(contents))) = (&id, &found) {
                world.tree.pin(*id).unwrap();
                model.open.push((*id, contents.clone()));
            }
            (id.map(drop), found.map(drop))
        }
        Step::Write { handle, offset, data } => {
            let Some((id, contents)) = model.open.get(handle).cloned() else { return (Ok(()), Ok(())) };
            let (start, end) = (offset as usize, offset as usize + data.len());
            if !data.is_empty() {
                let mut contents = contents.borrow_mut();
                let length = contents.len().max(end);
                contents.resize(length, 0);
                contents[start..end].copy_from_slice(data.as_bytes());
            }
            (world.apply(Action::Write { id, offset, data: data.into() }).map(drop), Ok(()))
        }
        Step::Close { handle } => {
            if handle < model.open.len() {
                world.tree.unpin(model.open.remove(handle).0);
                world.tree.check();
            }
            (Ok(()), Ok(()))
        }
    }
}

proptest! {
    #[test]
    fn the_tree_does_as_the_model_does(steps in steps()) {
        let (mut world, mut model) = (World::new(), Model::default());
        for one in steps {
            let text = format!("{one:?}");
            let (done, expected) = step(&mut world, &mut model, one);
            prop_assert_eq!(done.as_ref().map(|_| ()).map_err(|error| error.code), expected, "{}: {:?}", text, done);
            prop_assert_eq!(world.tree.usage(), model.usage(), "after {}", text);
            for (at, thing) in &model.things {
                match thing {
                    Thing::File(contents) => {
                        let (_, found) = world.tree.get(&path(at), &world.by).unwrap();
                        prop_assert_eq!(&found[..], &contents.borrow()[..], "{} after {}", at, text);
                    }
                    Thing::Directory => prop_assert_eq!(world.stat(at).unwrap().kind(), Kind::Directory),
                    Thing::Mount(_) => moves(world.stat(at), at, "/"),
                }
            }
            for (id, contents) in &model.open {
                prop_assert_eq!(&world.tree.read(*id, 0, 1000).unwrap()[..], &contents.borrow()[..]);
            }
        }
    }

    /// With links that lead anywhere nothing is promised but that every walk ends and the tree stays whole.
    #[test]
    fn links_to_anywhere_keep_the_tree_whole(
        links in proptest::collection::vec(("/[ab]{1,1}(/[abl]){0,2}", "/?[abl](/(~any|[abl])){0,3}"), 0..20),
        steps in steps(),
    ) {
        let mut world = World::new();
        let mut model = Model::default();
        let mut links = links.into_iter();
        for one in steps {
            if let Some((at, target)) = links.next() {
                let _ = world.symlink(&at, &target);
                let _ = world.put(&at, "x");
                let _ = (world.get(&at), world.names(&at), world.tree.resolve(&path(&at), &world.by));
            }
            let _ = match one {
                Step::Put { .. } | Step::Mkdir { .. } | Step::Remove { .. } | Step::Rename { .. } | Step::Mount { .. } | Step::Ended { .. } => {
                    step(&mut world, &mut model, one).0
                }
                _ => Ok(()),
            };
        }
    }
}
