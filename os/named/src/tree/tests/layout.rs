//! What the kernel lays out, against a tenant that would have it elsewhere.

use super::*;
use sigma_abi::realm::KERNEL_PRINCIPAL;

impl World {
    fn kernel(&mut self) -> &mut Self {
        self.by = Caller {
            principal: Principal::parse(KERNEL_PRINCIPAL).unwrap(),
            kernel: true,
            ..caller("m1", 0)
        };
        self
    }

    fn tenant(&mut self) -> &mut Self {
        self.by = caller("m1", 0);
        self
    }

    /// As the kernel does it each time that named comes up.
    fn lay_out(&mut self) -> Result<()> {
        self.kernel();
        let new = New { perm: 0o64, ephemeral: false };
        let (kind, target) = (Kind::Directory, String::new());
        self.apply(Action::Create { path: path("/ux"), kind, new, exclusive: false, target })?;
        self.mount("/ux/m1", "m1", 0)?;
        self.mount("/bin", "m1", 0)?;
        self.tenant();
        Ok(())
    }
}

/// Once any proc could take `/bin` away, or put something in its place that kept a realm from being laid out for ever.
#[test]
fn what_the_kernel_laid_out_stays_where_it_is() {
    let mut world = World::new();
    world.lay_out().unwrap();
    world.put("/f", "").unwrap();
    world.mkdir("/d").unwrap();
    for operator in [false, true] {
        world.by.kernel = operator;
        for at in ["/bin", "/ux", "/ux/m1"] {
            let text = format!("{at} belongs to the kernel: it stays where it is");
            fails(world.remove(at), Code::Denied, &text);
            fails(world.rename(at, "/mine"), Code::Denied, &text);
            fails(world.rename("/f", at), Code::Denied, &text);
        }
        fails(world.rename("/d", "/ux"), Code::Denied, "/ux belongs to the kernel: it stays where it is");
        fails(world.mount("/bin", "m1", 7), Code::Exists, "mount /bin: m00000001-1-0 serves it");
    }
    world.by.kernel = false;
    let text = "in /ux: /ux/x: owner may not write it; it is kernel's, with permissions 64";
    fails(world.put("/ux/x", ""), Code::Denied, text);
    assert_eq!(world.mount("/ux/m2", "m2", 7).unwrap_err().code, Code::Denied);
    world.rename("/f", "/d").expect_err("a file replaces no directory");
    world.kernel().remove("/bin").unwrap();
}

#[test]
fn what_is_in_the_way_of_the_layout_is_put_aside() {
    let mut world = World::new();
    world.mkdir("/elsewhere").unwrap();
    let (link, _) = world.symlink("/ux", "/elsewhere").unwrap();
    let (bin, _) = world.mkdir("/bin").unwrap();
    world.put("/bin/mine", "kept").unwrap();
    let taken = format!("/bin.{}", bin.0);
    world.put(&taken, "").unwrap();
    world.lay_out().unwrap();
    moves(world.get("/bin/mine"), "/bin", "/mine");
    moves(world.get("/ux/m1/x"), "/ux/m1", "/x");
    assert_eq!(world.get(&format!("{taken}.0/mine")), Ok("kept".into()));
    assert_eq!(world.tree.read_link(&path(&format!("/ux.{}", link.0)), &world.by), Ok("/elsewhere".into()));
    assert_eq!(world.names("/elsewhere"), Ok(Vec::new()));
    // What is there already stays as it is.
    let before = world.stat("/ux").unwrap();
    world.lay_out().unwrap();
    assert_eq!(world.stat("/ux").unwrap(), before);
}

#[test]
fn a_directory_of_the_layout_is_taken_over_and_keeps_what_it_holds() {
    let mut world = World::new();
    world.mkdir("/ux").unwrap();
    world.put("/ux/mine", "kept").unwrap();
    world.lay_out().unwrap();
    assert_eq!(world.get("/ux/mine"), Ok("kept".into()));
    let stat = world.stat("/ux").unwrap();
    assert_eq!((stat.owner.as_str(), stat.perm), (KERNEL_PRINCIPAL, 0o64));
}

#[test]
fn a_realm_that_is_full_is_laid_out_all_the_same() {
    let mut world = World::limited(Limits { entries: 1, bytes: 0 });
    world.put("/bin", "").unwrap();
    world.lay_out().unwrap();
    moves(world.get("/bin/x"), "/bin", "/x");
    assert_eq!(world.tree.usage().entries, 4);
    assert_eq!(world.put("/more", "").unwrap_err().code, Code::Quota);
}
