use super::*;
use crate::output::shelf::Shelf;
use sigma_abi::Realm;

/// The programs of a realm in a state directory that holds little else.
struct Bin {
    dir: tempfile::TempDir,
    blobs: Arc<Blobs>,
    binaries: Binaries,
}

impl Bin {
    fn new(limit: Option<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blob");
        fs::create_dir(&blobs).unwrap();
        let blobs = Arc::new(Blobs::new(blobs));
        let binaries = open(dir.path(), "a", &blobs, limit);
        Self { dir, blobs, binaries }
    }

    fn on_disk(&self) -> usize {
        fs::read_dir(&self.blobs.dir).unwrap().count()
    }
}

fn open(dir: &std::path::Path, realm: &str, blobs: &Arc<Blobs>, limit: Option<u64>) -> Binaries {
    let realm_dir = dir.join(realm);
    fs::create_dir_all(&realm_dir).unwrap();
    let output = dir.join(format!("output of {realm}"));
    fs::create_dir_all(&output).unwrap();
    let shelf = Shelf::open(&output, &[], 0).unwrap();
    let disk = Arc::new(Disk::new(Realm::parse(realm).unwrap(), realm_dir.clone(), limit, Arc::new(shelf)));
    Binaries::open(realm_dir.join("bin"), Arc::clone(blobs), disk).unwrap()
}

/// A static program, and the same one with a byte more.
fn program(extra: usize) -> Vec<u8> {
    let mut program = elf_for_tests();
    program.extend(std::iter::repeat_n(0, extra));
    program
}

/// The header of an ELF file with one loaded segment and nothing to run: all that is looked at when it arrives.
fn elf_for_tests() -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let push = |file: &mut Vec<u8>, value: u64, bytes: usize| file.extend(&value.to_le_bytes()[..bytes]);
    // Type, machine, version, entry, program headers, section headers, flags, sizes and counts: elf(5).
    for (value, bytes) in
        [(2, 2), (62, 2), (1, 4), (0x40_0078, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2)]
    {
        push(&mut file, value, bytes);
    }
    for (value, bytes) in [(64, 2), (0, 2), (0, 2)] {
        push(&mut file, value, bytes);
    }
    for (value, bytes) in
        [(1, 4), (5, 4), (0, 8), (0x40_0000, 8), (0x40_0000, 8), (120, 8), (120, 8), (4096, 8)]
    {
        push(&mut file, value, bytes);
    }
    file
}

fn upload(binaries: &Binaries, name: &str, contents: &[u8]) -> Result<Entry> {
    let mut upload = binaries.upload(name)?;
    upload.write(0, contents)?;
    binaries.commit(upload)
}

#[test]
fn a_program_is_deleted_with_its_last_name_and_not_before() {
    let bin = Bin::new(None);
    let other = open(bin.dir.path(), "b", &bin.blobs, None);
    upload(&bin.binaries, "one", &program(0)).unwrap();
    upload(&bin.binaries, "two", &program(0)).unwrap();
    upload(&other, "three", &program(0)).unwrap();
    assert_eq!(bin.on_disk(), 1, "the same contents are there once");
    bin.binaries.remove("one").unwrap();
    bin.binaries.remove("two").unwrap();
    assert_eq!(bin.on_disk(), 1, "another realm names it");
    other.remove("three").unwrap();
    assert_eq!(bin.on_disk(), 0);
    assert_eq!(bin.binaries.disk.programs(), 0);
}

#[test]
fn a_program_that_is_replaced_is_deleted_and_a_proc_that_needs_it_keeps_it() {
    let bin = Bin::new(None);
    upload(&bin.binaries, "one", &program(0)).unwrap();
    let held = bin.binaries.find("one").unwrap();
    upload(&bin.binaries, "one", &program(1)).unwrap();
    assert_eq!(bin.on_disk(), 1);
    assert_eq!(held.file.metadata().unwrap().len(), program(0).len() as u64, "it can still be run");
    assert_eq!(bin.binaries.disk.programs(), program(1).len() as u64);
}

#[test]
fn a_program_without_a_name_leaves_nothing() {
    let bin = Bin::new(None);
    let run = |contents: &[u8]| {
        let mut upload = bin.binaries.upload("x").unwrap();
        upload.write(0, contents).unwrap();
        bin.binaries.unnamed(upload)
    };
    let (first, second) = (run(&program(0)).unwrap(), run(&program(0)).unwrap());
    assert!(Arc::ptr_eq(&first.file, &second.file), "procs of one program share it");
    assert!(run(b"no program").is_err());
    assert_eq!((bin.on_disk(), bin.binaries.disk.programs()), (0, 0));
}

#[test]
fn a_boot_deletes_what_nobody_names_and_what_uploads_left() {
    let bin = Bin::new(None);
    upload(&bin.binaries, "one", &program(0)).unwrap();
    for left in ["draft-7", "0123abcd"] {
        fs::write(bin.blobs.dir.join(left), "x").unwrap();
    }
    let blobs = Arc::new(Blobs::new(bin.blobs.dir.to_owned()));
    let again = open(bin.dir.path(), "a", &blobs, None);
    blobs.sweep().unwrap();
    assert_eq!(bin.on_disk(), 1);
    assert!(again.find("one").is_ok());
}

#[test]
fn the_names_of_a_realm_that_is_gone_are_gone() {
    let bin = Bin::new(None);
    let other = open(bin.dir.path(), "b", &bin.blobs, None);
    upload(&other, "one", &program(0)).unwrap();
    other.forget();
    assert_eq!(bin.on_disk(), 0);
}

#[test]
fn past_the_limit_an_upload_is_refused_and_leaves_nothing() {
    let size = program(0).len() as u64;
    let bin = Bin::new(Some(2 * size + 1));
    upload(&bin.binaries, "one", &program(0)).unwrap();
    let error = upload(&bin.binaries, "two", &program(2)).unwrap_err();
    assert_eq!(error.code, Code::Quota, "{error}");
    assert!(error.message.contains("realm a") && error.message.contains("limit.disk"), "{error}");
    assert_eq!((bin.on_disk(), bin.binaries.disk.programs()), (1, size));
    upload(&bin.binaries, "two", &program(1)).unwrap();
}

#[test]
fn different_programs_that_are_held_open_are_bounded() {
    let bin = Bin::new(None);
    let mut held = Vec::new();
    let refused = (0..=MAX_OPEN).find_map(|number| {
        let name = number.to_string();
        upload(&bin.binaries, &name, &program(number)).unwrap();
        bin.binaries.find(&name).map(|binary| held.push(binary)).err()
    });
    assert_eq!(refused.map(|error| error.code), Some(Code::Busy));
    assert_eq!(held.len(), MAX_OPEN);
    held.pop();
    assert!(bin.binaries.find(&MAX_OPEN.to_string()).is_ok());
}
