use super::*;
use sigma_abi::limits::MAX_NAMED_FILE;

#[test]
fn files_are_put_replaced_and_read() {
    let mut world = World::new();
    let (id, first) = world.put("/a", "one").unwrap();
    let (same, second) = world.put("/a", "three").unwrap();
    assert_eq!((id, world.get("/a").as_deref()), (same, Ok("three")));
    assert!(first.version < second.version && first.modified_ms < second.modified_ms);
    assert_eq!((second.owner.as_str(), second.perm, second.size), ("owner", 0o64, 5));
    fails(world.apply(put("/a", "", true)), Code::Exists, "/a exists");
    assert_eq!(world.tree.usage(), Usage { entries: 1, bytes: 5 });
    world.remove("/a").unwrap();
    let (_, third) = world.put("/a", "").unwrap();
    assert!(third.version > second.version, "versions outlive the name");
}

#[test]
fn errors_name_the_path_and_the_name_that_fails() {
    let mut world = World::new();
    world.mkdir("/d").unwrap();
    world.put("/d/f", "").unwrap();
    fails(world.get("/x"), Code::NotFound, "/x does not exist");
    fails(world.get("/d/x/y/z"), Code::NotFound, "/d/x/y/z: /d/x does not exist");
    fails(world.put("/d/x/y", ""), Code::NotFound, "/d/x/y: /d/x does not exist");
    fails(world.stat("/d/f/y"), Code::NotDir, "/d/f/y: /d/f is a file, not a directory");
    fails(world.get("/d"), Code::IsDir, "/d is a directory");
    fails(world.get("/"), Code::IsDir, "/ is a directory");
    fails(world.put("/d", ""), Code::IsDir, "/d is a directory");
    fails(world.put("/", ""), Code::IsDir, "/ is a directory");
    fails(world.names("/d/f"), Code::NotDir, "/d/f is a file, not a directory");
    fails(world.mkdir("/d/f"), Code::Exists, "create a directory: /d/f exists");
    fails(world.mkdir("/"), Code::Exists, "create a directory: / exists");
    fails(world.remove("/"), Code::Invalid, "/ cannot be removed");
    fails(world.remove("/d"), Code::NotEmpty, "/d is not empty: it has 1 entries");
    fails(world.remove("/y"), Code::NotFound, "/y does not exist");
    let device = world.apply(create("/p", Kind::RpcDevice, ""));
    fails(device, Code::Unsupported, "create /p: an rpc device is made by the server that answers it");
    fails(
        world.apply(create("/p", Kind::File, "/a")),
        Code::Invalid,
        "create /p: only a symlink has a target",
    );
}

#[test]
fn create_finds_what_is_there_unless_it_is_exclusive() {
    let mut world = World::new();
    let mut create = |kind, target: &str| {
        let (path, target) = (path("/a"), target.to_owned());
        world.entry(Action::Create { path, kind, new: NEW, exclusive: false, target })
    };
    let made = create(Kind::Directory, "").unwrap();
    assert_eq!(create(Kind::Directory, ""), Ok(made));
    fails(create(Kind::File, ""), Code::Exists, "create a file: /a exists");
    fails(create(Kind::Symlink, "/b"), Code::Exists, "create a symlink: /a exists");
}

#[test]
fn directories_are_listed_in_pages() {
    let mut world = World::new();
    let names: Vec<String> = (0..2500).map(|number| format!("f{number:04}")).collect();
    for name in &names {
        let change = put(&format!("/{name}"), "", true);
        world
            .tree
            .apply(Change { by: world.by.clone(), now_ms: 1, fences: Vec::new(), action: change })
            .unwrap();
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.tree.read_dir(&Path::root(), &world.by, &after, 0).unwrap();
        seen.extend(page.entries.into_iter().map(|stat| stat.name));
        (after, pages) = (seen.last().cloned().unwrap(), pages + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!((seen, pages), (names, 3));
    let page = world.tree.read_dir(&Path::root(), &world.by, "f0007x", 1).unwrap();
    assert_eq!((page.entries[0].name.as_str(), page.more), ("f0008", true));
    let past = world.tree.read_dir(&Path::root(), &world.by, "g", 9).unwrap();
    assert_eq!((past.entries.len(), past.more), (0, false));
}

#[test]
fn renames_are_whole_or_nothing() {
    let mut world = World::new();
    for dir in ["/a", "/a/b", "/c", "/c/empty"] {
        world.mkdir(dir).unwrap();
    }
    world.put("/a/b/f", "f").unwrap();
    world.put("/g", "g").unwrap();
    let into = "rename /a to /a/b/x: a directory cannot move into itself";
    fails(world.rename("/a", "/a/b/x"), Code::Invalid, into);
    fails(world.rename("/a", "/g"), Code::NotDir, "rename /a to /g: /g is a file, not a directory");
    let full = "rename /g to /a: /a is a directory that is not empty";
    fails(world.rename("/g", "/a"), Code::NotEmpty, full);
    fails(world.rename("/g", "/c/empty"), Code::IsDir, "rename /g to /c/empty: /c/empty is a directory");
    fails(world.rename("/", "/x"), Code::Invalid, "rename / to /x: / stays where it is");
    fails(world.rename("/x", "/y"), Code::NotFound, "/x does not exist");
    world.rename("/a", "/c/empty").unwrap();
    assert_eq!(world.get("/c/empty/b/f").as_deref(), Ok("f"));
    world.rename("/g", "/c/empty/b/f").unwrap();
    assert_eq!(world.get("/c/empty/b/f").as_deref(), Ok("g"));
    assert_eq!(world.names("/"), Ok(vec!["c".to_owned()]));
    let before = world.stat("/c").unwrap();
    world.rename("/c", "/c").unwrap();
    assert_eq!(world.stat("/c"), Ok(before), "a rename to the same name changes nothing");
}

#[test]
fn a_removed_file_stays_for_those_who_hold_it_open() {
    let mut world = World::new();
    let (id, _) = world.put("/a", "old").unwrap();
    world.tree.pin(id).unwrap();
    world.tree.pin(id).unwrap();
    world.remove("/a").unwrap();
    let (new, _) = world.put("/a", "new").unwrap();
    assert_ne!(id, new);
    let write = Action::Write { id, offset: 5, data: Bytes::from_static(b"!") };
    assert_eq!(world.entry(write).unwrap().1.size, 6);
    assert_eq!(world.tree.read(id, 0, 100).unwrap(), "old\0\0!");
    assert_eq!(world.tree.read(id, 1, 2).unwrap(), "ld");
    assert_eq!(world.tree.read(id, u64::MAX, 2).unwrap(), "");
    assert_eq!(world.tree.stat_open(id).unwrap().name, "a");
    assert_eq!(world.tree.usage(), Usage { entries: 2, bytes: 9 });
    world.tree.unpin(id);
    assert!(world.tree.read(id, 0, 1).is_ok());
    world.tree.unpin(id);
    fails(world.tree.read(id, 0, 1), Code::Closed, "open entry #2 is gone");
    fails(world.tree.pin(id), Code::Closed, "open entry #2 is gone");
    assert_eq!(world.tree.usage(), Usage { entries: 1, bytes: 3 });
    world.tree.unpin(new);
    assert_eq!(world.get("/a").as_deref(), Ok("new"), "an unpin too many does nothing");
}

#[test]
fn files_grow_within_their_limit_and_are_cut() {
    let mut world = World::new();
    let (id, _) = world.put("/a", "12345").unwrap();
    let (path, access) = (path("/a"), Access { read: false, write: true });
    world.apply(Action::Open { path, create: false, truncate: true, access, new: NEW }).unwrap();
    let data = Bytes::from_static(b"12");
    world.apply(Action::Write { id, offset: 2, data }).unwrap();
    assert_eq!(world.get("/a").as_deref(), Ok("\0\x0012"));
    let most = MAX_NAMED_FILE as u64;
    world.apply(Action::Write { id, offset: most - 1, data: Bytes::from_static(b"x") }).unwrap();
    let large =
        "open entry #2: a file of 1048577 bytes; the limit here is 1048576, larger ones go to /ux or /s3";
    let data = Bytes::from_static(b"x");
    fails(world.apply(Action::Write { id, offset: most, data: data.clone() }), Code::TooLarge, large);
    let overflow = world.apply(Action::Write { id, offset: u64::MAX, data });
    assert_eq!(overflow.map_err(|error| error.code), Err(Code::TooLarge));
    let put = world.put("/b", &"x".repeat(MAX_NAMED_FILE + 1));
    assert_eq!(put.map_err(|error| error.code), Err(Code::TooLarge));
    let dir = world.mkdir("/d").unwrap().0;
    fails(
        world.apply(Action::Write { id: dir, offset: 0, data: Bytes::from_static(b"x") }),
        Code::IsDir,
        "open entry #3 is a directory, not a file",
    );
}

#[test]
fn a_tree_holds_no_more_than_its_limits() {
    let mut world = World::limited(Limits { entries: 3, bytes: 10 });
    world.put("/a", "123456").unwrap();
    let bytes = "/b: the namespace would hold 11 bytes of files; it may hold 10";
    fails(world.put("/b", "12345"), Code::Quota, bytes);
    fails(world.symlink("/b", "/long"), Code::Quota, bytes);
    world.put("/b", "1234").unwrap();
    assert_eq!(world.put("/a", "1234567").map_err(|error| error.code), Err(Code::Quota));
    world.put("/a", "").unwrap();
    world.mkdir("/d").unwrap();
    let entries = "/e: the namespace holds 3 entries, the most it may";
    fails(world.mkdir("/e"), Code::Quota, entries);
    world.rename("/a", "/b").unwrap();
    world.mount("/e", "m1", 1).unwrap();
    assert_eq!(world.tree.usage(), Usage { entries: 3, bytes: 0 });
}

/// Keys under which contents have records of their own.
fn apart(kept: &BTreeMap<Vec<u8>, Bytes>) -> usize {
    kept.keys().filter(|key| key.first() == Some(&b'c')).count()
}

#[test]
fn contents_lie_with_their_entry_while_they_are_small() {
    let mut world = World::new();
    for (bytes, records) in [(512, 0), (513, 1), (2000, 1), (3, 0), (0, 0), (600, 1)] {
        world.put("/file", &"x".repeat(bytes)).unwrap();
        assert_eq!(apart(&world.kept), records, "{bytes} bytes");
    }
    world.remove("/file").unwrap();
    assert_eq!(apart(&world.kept), 0);
}

/// The build before gave small contents records of their own, too.
#[test]
fn small_contents_that_were_kept_apart_are_read_and_brought_home() {
    let mut world = World::new();
    let (id, _) = world.put("/file", "").unwrap();
    world.kept.insert([&b"c"[..], &id.0.to_be_bytes()].concat(), "old".into());
    let records = world.kept.clone().into_iter().collect();
    world.tree = Tree::read_back(Limits::default(), records).unwrap().unwrap();
    assert_eq!(world.get("/file").as_deref(), Ok("old"));
    world.put("/file", "new").unwrap();
    assert_eq!(apart(&world.kept), 0);
}

/// What becomes of a tree, step by step, where the clock of the machine shows `clock` of each step; without the times that are shown.
fn lived_by(clock: impl Fn(u64) -> u64) -> Vec<String> {
    let mut world = World::new();
    let ephemeral = New { ephemeral: true, ..NEW };
    let held = Action::Put { path: path("/held"), new: ephemeral, exclusive: true, contents: Bytes::new() };
    let elect =
        Action::Elect { path: path("/leader"), perm: 0o66, fence: Some(path("/d")), contents: Bytes::new() };
    let actions = [
        create("/d", Kind::Directory, ""),
        put("/d/a", "one", false),
        held,
        elect.clone(),
        put("/d/a", "two", false),
        Action::Rename { from: path("/d/a"), to: path("/b") },
        Action::Rename { from: path("/held"), to: path("/d/held") },
        put("/b", "", true),
        Action::Ended { pid: pid(0) },
        elect,
        Action::Remove { path: path("/d"), entry: None },
    ];
    let steps = actions.into_iter().zip(0..).map(|(action, step)| {
        world.now_ms = clock(step);
        let told = match world.apply(action) {
            Ok(Reply::Entry { id, stat }) => format!("{id}: {:?}", Stat { modified_ms: 0, ..stat }),
            other => format!("{other:?}"),
        };
        format!("{told}, and then {:?}", world.names("/d"))
    });
    steps.collect()
}

/// Leases, elections, versions and the order of things rest on what happened, and not on when that was.
#[test]
fn a_clock_that_jumps_changes_the_times_that_are_shown_and_nothing_else() {
    let steady = lived_by(|step| 1_000_000 + step);
    assert!(steady[7].contains("Exists") && steady[8].contains("Done"), "{steady:#?}");
    for clock in [|_| 0, |step| 1_000_000 - 1000 * step, |step| [0, u64::MAX / 2][step as usize % 2]] {
        assert_eq!(lived_by(clock), steady);
    }
}
