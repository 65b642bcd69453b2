//! Stories on the real jail: as root with a range of uids, as root without, and as an ordinary user.

#![allow(unsafe_code, clippy::unwrap_used)]

mod driver;

use driver::{Jail, args, program, ways};
use sigma_abi::proto;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

#[test]
fn a_plain_program_runs_and_its_output_and_end_come_back() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let mut launcher = jail.make();
        assert_eq!((launcher.process, launcher.class), (2, proto::Class::Lc.into()));
        launcher.launch(&program("probe"), &["probe", "9", "two"], &["PROBE=seen"], false);
        let lines = launcher.lines_until("ready");
        let expected = [
            "args: probe 9 two",
            "env: seen",
            "pid: 2",
            "threads: work",
            "file: errno 1",
            "net: errno 1",
            "ready: yes",
        ];
        assert_eq!(lines, expected, "{way:?}");
        drop(launcher.input);
        let exited = jail.exited();
        assert_eq!((exited.process, exited.exit_code, exited.signal), (2, Some(0), None));
        assert!(exited.peak_bytes > 1 << 16, "{exited:?}");
    }
}

#[test]
fn a_hostile_program_is_allowed_nothing() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let (text, exited) = jail.run(&program("hostile"), &["hostile"]);
        check_refused(&text, &exited, &format!("{way:?}"));
    }
}

#[test]
fn a_socket_that_was_handed_over_cannot_become_another() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let mut launcher = jail.make();
        launcher.launch(&program("hostile"), &["hostile", "socket"], &[], false);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        driver::send_fds(&launcher.door, b"x", &[socket.as_raw_fd()]);
        let mut text = String::new();
        launcher.output.read_to_string(&mut text).unwrap();
        check_refused(&text, &jail.exited(), &format!("{way:?}"));
    }
}

fn check_refused(text: &str, exited: &proto::LauncherExited, way: &str) {
    let allowed: Vec<_> = text.lines().filter(|line| !line.contains(": refused (")).collect();
    assert!(allowed.is_empty() && exited.exit_code == Some(0), "{way}: {allowed:#?} {exited:?}");
    assert!(text.lines().count() > 150, "{way}: {} attempts", text.lines().count());
}

#[test]
fn a_failed_launch_says_which_step_failed() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let check = |jail: &mut Jail, binary: &File, args: &[&str], step: &str| {
            let mut launcher = jail.make();
            launcher.send_launch(args, &[], false, &[binary.as_raw_fd()]);
            let failed = launcher.failed();
            assert_eq!(failed.step, step, "{way:?}: {failed:?}");
            assert_eq!(jail.exited().exit_code, Some(126));
        };
        check(
            &mut jail,
            &File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap(),
            &["x"],
            "exec",
        );
        check(&mut jail, &program("probe"), &["nul\0"], "args");
        let mut launcher = jail.make();
        launcher.send_launch(&["x"], &[], false, &[]);
        assert_eq!(launcher.failed().step, "receiving");
        jail.exited();
        // The jail is none the worse for it.
        assert_eq!(jail.run(&program("hostile"), &["hostile"]).1.exit_code, Some(0));
    }
}

#[test]
fn a_launcher_that_is_not_wanted_ends_quietly() {
    let mut jail = Jail::start(ways()[0], "");
    let launcher = jail.make();
    let process = launcher.process;
    drop(launcher);
    let exited = jail.exited();
    assert_eq!((exited.process, exited.exit_code), (process, Some(0)));
}

#[test]
fn kill_reaches_live_children_only() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let mut launcher = jail.make();
        launcher.launch(&program("probe"), &["probe"], &[], true);
        launcher.lines_until("ready");
        for process in [-1, 0, 1, 4000] {
            jail.send("Jail.Kill", &proto::KillLauncher { process, signal: libc::SIGKILL });
        }
        jail.send("Jail.Kill", &proto::KillLauncher { process: launcher.process, signal: 999 });
        jail.send("Jail.Kill", &proto::KillLauncher { process: launcher.process, signal: libc::SIGTERM });
        let exited = jail.exited();
        assert_eq!((exited.exit_code, exited.signal), (None, Some(libc::SIGTERM)), "{way:?}");
        jail.make();
    }
}

#[test]
fn a_batch_of_launchers_is_made_and_their_numbers_differ() {
    let mut jail = Jail::start(ways()[0], "");
    for _ in 0..40 {
        jail.send("Jail.Make", &proto::MakeLauncher { class: proto::Class::Be.into() });
    }
    let launchers: Vec<_> = (0..40).map(|_| jail.launcher()).collect();
    let processes: std::collections::BTreeSet<_> =
        launchers.iter().map(|launcher| launcher.process).collect();
    assert_eq!(processes.len(), 40);
    assert!(launchers.iter().all(|launcher| launcher.class == i32::from(proto::Class::Be)));
}

#[test]
fn a_launcher_joins_its_control_groups() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let pairs = [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
        let launcher = jail.make_in(&pairs.each_ref().map(|(_, writer)| writer.as_raw_fd()));
        for (mut reader, writer) in pairs {
            drop(writer);
            let mut written = String::new();
            // The end of the file: neither the jail nor the launcher keeps it open.
            reader.read_to_string(&mut written).unwrap();
            assert_eq!(written, "0", "{way:?}");
        }
        drop(launcher);
        assert_eq!(jail.exited().exit_code, Some(0));
    }
}

#[test]
fn a_launcher_that_cannot_join_a_control_group_is_none() {
    let mut jail = Jail::start(ways()[0], "");
    let not_writable = File::open("/dev/null").unwrap();
    let mut launcher = jail.make_in(&[not_writable.as_raw_fd()]);
    assert_eq!(launcher.failed().step, "cgroup");
    assert_eq!(jail.exited().exit_code, Some(126));
}

#[test]
fn when_sigmad_goes_everything_goes() {
    for way in ways() {
        for without in ["", "pid"] {
            if without == "pid" && matches!(way, driver::As::User) {
                continue;
            }
            let mut jail = Jail::start(way, without);
            let mut launcher = jail.make();
            launcher.launch(&program("probe"), &["probe"], &[], false);
            launcher.lines_until("ready");
            let waiting = jail.make();
            let mut child = jail.close();
            assert!(launcher.ended() && waiting.ended(), "{way:?} without {without:?}");
            let status = child.wait().unwrap();
            assert!(status.code().is_some(), "{status:?}");
        }
    }
}

#[test]
fn when_the_outer_process_is_killed_everything_goes() {
    for way in ways() {
        let mut jail = Jail::start(way, "");
        let launcher = jail.make();
        jail.child.kill().unwrap();
        jail.child.wait().unwrap();
        assert!(launcher.ended(), "{way:?}");
        assert!(jail.next().is_none());
    }
}

#[test]
fn bytes_that_are_no_frame_end_the_jail_with_a_reason() {
    let mut jail = Jail::start(ways()[0], "");
    jail.send_bytes(&[0xff; 64]);
    assert!(jail.failed().message.contains("no frame"));
    assert_eq!(jail.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_frame_may_come_in_pieces() {
    let mut jail = Jail::start(ways()[0], "");
    let make = proto::MakeLauncher { class: 0 };
    let wire = sigma_abi::frame::Frame::new(sigma_abi::frame::Kind::Notice, 0, "Jail.Make", &make).encode();
    for byte in wire.iter() {
        jail.send_bytes(&[*byte]);
    }
    jail.launcher();
}

#[test]
fn a_wrong_command_line_is_refused() {
    for wrong in [
        &["--uid-base"][..],
        &["--uid-base", "0"],
        &["--without", "net"],
        &["--uid-base", "none", "--x", "y"],
    ] {
        let args: Vec<_> = wrong.iter().map(|text| (*text).to_owned()).collect();
        let mut jail = Jail::start_raw(ways()[0], &args);
        assert!(!jail.failed().message.is_empty());
        assert_eq!(jail.child.wait().unwrap().code(), Some(1));
    }
}

/// Only root may map a range, so this is a layer that cannot be set up.
#[test]
fn a_layer_that_cannot_be_set_up_ends_the_jail() {
    let args = args(driver::As::Range, "");
    let mut jail = Jail::start_raw(driver::As::User, &args);
    let failed = jail.failed();
    assert_eq!(failed.layer, "user");
    assert!(failed.message.contains("--insecure-without=user"), "{}", failed.message);
    assert_eq!(jail.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_proc_reads_what_its_door_and_input_carry() {
    let mut jail = Jail::start(ways()[0], "");
    let mut launcher = jail.make();
    launcher.launch(&program("probe"), &["probe"], &[], false);
    launcher.lines_until("ready");
    launcher.input.write_all(b"some input").unwrap();
    drop(launcher.input);
    assert_eq!(jail.exited().exit_code, Some(0));
}
