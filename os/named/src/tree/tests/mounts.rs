use super::*;

fn resolve(world: &World, at: &str, by: &Caller) -> Result<(String, String, Option<String>)> {
    let resolved = world.tree.resolve(&path(at), by)?;
    Ok((resolved.mount, resolved.rest, resolved.endpoint.map(|endpoint| endpoint.machine)))
}

#[test]
fn what_lies_behind_a_mount_is_served_elsewhere() {
    let mut world = World::new();
    world.mkdir("/ux").unwrap();
    world.mount("/ux/m1", "m1", 1).unwrap();
    world.symlink("/data", "/ux/m1/data").unwrap();
    moves(world.get("/ux/m1/a/b"), "/ux/m1", "/a/b");
    moves(world.stat("/ux/m1"), "/ux/m1", "/");
    moves(world.names("/ux/m1"), "/ux/m1", "/");
    moves(world.put("/ux/m1/x", ""), "/ux/m1", "/x");
    moves(world.put("/ux/m1", ""), "/ux/m1", "/");
    moves(world.mkdir("/ux/m1/x"), "/ux/m1", "/x");
    moves(world.remove("/ux/m1/x"), "/ux/m1", "/x");
    moves(world.mount("/ux/m1/x", "m1", 2), "/ux/m1", "/x");
    moves(world.get("/data/f"), "/ux/m1", "/data/f");
    moves(world.rename("/ux/m1/a", "/data/b"), "/ux/m1", "/a");
    fails(
        world.rename("/ux/m1/a", "/b"),
        Code::Unsupported,
        "rename /ux/m1/a to /b: they are served by different servers; copy instead",
    );
    let listed = world.tree.read_dir(&path("/ux"), &world.by, "", 0).unwrap();
    assert_eq!(listed.entries[0].kind(), Kind::Mount);
    world.rename("/ux/m1", "/ux/other").unwrap();
    moves(world.get("/ux/other/a"), "/ux/other", "/a");
    world.remove("/ux/other").unwrap();
    fails(world.get("/ux/other/a"), Code::NotFound, "/ux/other/a: /ux/other does not exist");
}

#[test]
fn a_mount_ends_with_its_proc() {
    let mut world = World::new();
    world.mkdir("/s").unwrap();
    let (id, _) = world.mount("/s/a", "m1", 1).unwrap();
    world.mount("/s/b", "m1", 1).unwrap();
    world.mount("/s/c", "m1", 2).unwrap();
    world.put("/f", "").unwrap();
    assert_eq!(world.mount("/s/a", "m1", 1).unwrap().0, id, "the same proc may mount again");
    fails(world.mount("/s/a", "m1", 2), Code::Exists, "mount /s/a: m00000001-1-1 serves it");
    fails(world.mount("/f", "m1", 2), Code::Exists, "mount /f: /f exists");
    fails(world.rename("/f", "/s/a"), Code::Exists, "rename /f to /s/a: /s/a exists");
    let before = world.stat("/s").unwrap();
    world.apply(Action::Ended { pid: pid(1) }).unwrap();
    assert_eq!(world.names("/s"), Ok(vec!["c".to_owned()]));
    assert!(world.stat("/s").unwrap().version > before.version);
    world.apply(Action::Ended { pid: pid(1) }).unwrap();
    world.mount("/s/a", "m1", 2).unwrap();
}

#[test]
fn a_union_picks_a_live_mount() {
    let mut world = World::new();
    world.mkdir("/ux").unwrap();
    let no_mount = "/ux/~any/f: /ux holds no mount";
    fails(world.get("/ux/~any/f"), Code::NotFound, no_mount);
    world.put("/ux/file", "").unwrap();
    world.mount("/ux/a", "m1", 1).unwrap();
    world.mount("/ux/b", "m2", 2).unwrap();
    let check = |machine: &str, turn: u64, at: &str, mount: &str| {
        let found = resolve(&world, at, &caller(machine, turn)).unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), (mount, "/f"));
    };
    check("m1", 0, "/ux/~local/f", "/ux/a");
    check("m2", 0, "/ux/~local/f", "/ux/b");
    check("m2", 0, "/ux/~any/f", "/ux/b");
    check("m9", 0, "/ux/~any/f", "/ux/a");
    check("m9", 1, "/ux/~any/f", "/ux/b");
    check("m9", u64::MAX, "/ux/~any/f", "/ux/b");
    let none = resolve(&world, "/ux/~local/f", &caller("m9", 0));
    fails(none, Code::NotFound, "/ux/~local/f: /ux holds no mount of the caller's machine m9");
    moves(world.put("/ux/~local/f", ""), "/ux/a", "/f");
    moves(world.stat("/ux/~local"), "/ux/a", "/");
    let stands = |name: &str| format!("/ux/{name}: {name} stands for a mount; name the mount itself");
    fails(world.remove("/ux/~local"), Code::Invalid, &stands("~local"));
    fails(world.mkdir("/ux/~any"), Code::Invalid, &stands("~any"));
    fails(world.mount("/ux/~any", "m1", 7), Code::Invalid, &stands("~any"));
    fails(world.rename("/ux/file", "/ux/~any"), Code::Invalid, &stands("~any"));
    world.apply(Action::Ended { pid: pid(1) }).unwrap();
    moves(world.get("/ux/~any/f"), "/ux/b", "/f");
}

#[test]
fn resolve_says_who_serves_a_path() {
    let mut world = World::new();
    world.mkdir("/d").unwrap();
    world.symlink("/l", "/d").unwrap();
    world.mount("/d/m", "m2", 3).unwrap();
    let by = world.by.clone();
    let check = |at: &str, expect: (&str, &str, Option<&str>)| {
        let (mount, rest, machine) = resolve(&world, at, &by).unwrap();
        assert_eq!((mount.as_str(), rest.as_str(), machine.as_deref()), expect, "{at}");
    };
    check("/", ("/", "/", None));
    check("/l", ("/", "/d", None));
    check("/l/new", ("/", "/d/new", None));
    check("/l/m", ("/d/m", "/", Some("m2")));
    check("/l/m/x/y", ("/d/m", "/x/y", Some("m2")));
    assert_eq!(resolve(&world, "/l/new/x", &by).map_err(|error| error.code), Err(Code::NotFound));
}
