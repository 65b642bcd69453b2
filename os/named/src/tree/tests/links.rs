use super::*;

#[test]
fn links_are_followed_by_those_who_look_and_not_by_those_who_move() {
    let mut world = World::new();
    world.mkdir("/d").unwrap();
    world.put("/d/f", "f").unwrap();
    world.symlink("/l", "/d/f").unwrap();
    world.symlink("/dir", "/d").unwrap();
    assert_eq!(world.get("/l").as_deref(), Ok("f"));
    assert_eq!(world.get("/dir/f").as_deref(), Ok("f"));
    assert_eq!(world.stat("/l").unwrap().name, "f");
    assert_eq!(world.names("/dir"), Ok(vec!["f".to_owned()]));
    world.put("/l", "through").unwrap();
    assert_eq!(world.get("/d/f").as_deref(), Ok("through"));
    assert_eq!(world.tree.read_link(&path("/l"), &world.by).as_deref(), Ok("/d/f"));
    fails(world.tree.read_link(&path("/d/f"), &world.by), Code::Invalid, "/d/f is a file, not a symlink");
    fails(world.apply(put("/l", "", true)), Code::Exists, "/l exists");
    world.rename("/l", "/dir/l").unwrap();
    assert_eq!(world.get("/d/l").as_deref(), Ok("through"));
    world.remove("/dir/l").unwrap();
    world.remove("/dir").unwrap();
    assert_eq!(world.get("/d/f").as_deref(), Ok("through"));
}

#[test]
fn a_relative_target_starts_at_the_directory_of_its_link() {
    let mut world = World::new();
    world.mkdir("/a").unwrap();
    world.mkdir("/a/b").unwrap();
    world.put("/a/b/f", "f").unwrap();
    world.symlink("/a/l", "b/./f").unwrap();
    assert_eq!(world.get("/a/l").as_deref(), Ok("f"));
    world.rename("/a", "/z").unwrap();
    assert_eq!(world.get("/z/l").as_deref(), Ok("f"), "it moves with its directory");
    assert_eq!(world.tree.read_link(&path("/z/l"), &world.by).as_deref(), Ok("b/f"));
    for wrong in ["", ".", "../x", "/a/../b", "a\0"] {
        let made = world.symlink("/wrong", wrong);
        assert_eq!(made.map_err(|error| error.code), Err(Code::Invalid), "{wrong:?}");
    }
}

#[test]
fn links_that_dangle_or_circle_say_so() {
    let mut world = World::new();
    world.symlink("/l", "/x/y").unwrap();
    fails(world.get("/l"), Code::NotFound, "/l: /x does not exist");
    world.mkdir("/x").unwrap();
    fails(world.get("/l"), Code::NotFound, "/l does not exist");
    world.put("/l", "made").unwrap();
    assert_eq!(world.get("/x/y").as_deref(), Ok("made"), "a put makes the file where the link leads");
    world.symlink("/circle", "/circle").unwrap();
    fails(world.get("/circle/a"), Code::Loop, "/circle/a: more than 8 symlinks, the last one is /circle");
    world.symlink("/root", "/").unwrap();
    assert_eq!(world.stat("/root").unwrap().name, "/");
    assert_eq!(world.get("/root/root/x/y").as_deref(), Ok("made"));
    fails(world.put("/root", ""), Code::IsDir, "/root is a directory");
}

#[test]
fn eight_links_are_walked_and_nine_are_not() {
    let mut world = World::new();
    world.put("/l0", "end").unwrap();
    for number in 1..=9 {
        world.symlink(&format!("/l{number}"), &format!("/l{}", number - 1)).unwrap();
    }
    assert_eq!(world.get("/l8").as_deref(), Ok("end"));
    assert_eq!(world.get("/l9").map_err(|error| error.code), Err(Code::Loop));
}
