//! What a hostile proc, or a hostile peer, can do through the whole system: nothing.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::layer::Layer;
use sigma_test::{Machine, Neighbour, host, story, story_with};
use sigmaos::{Status, proto, wire};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn a_hostile_proc_is_refused_everything_while_its_neighbour_is_served() {
    story(async |machine| {
        let neighbour = Neighbour::moves_in(machine).await;
        let tenant = machine.realm("hostile").await;
        let procs = [tenant.spawn("hostile").await, tenant.spawn_lc(500, "hostile").await];
        for pid in procs {
            neighbour.is_well().await;
            let status = tenant.wait_exit(pid).await;
            let tried = tenant.stdout(pid).await;
            let allowed: Vec<_> = tried.lines().filter(|line| !line.contains(": refused ")).collect();
            assert_eq!((allowed, status), (Vec::<&str>::new(), Status::ok()));
            let count = tried.lines().count();
            assert!(count > 150, "it tried only {count} things");
            // A descriptor over the door is among them.
            assert!(tried.contains("a descriptor over the door: refused"), "{tried}");
        }
        assert!(tenant.run("actor start").await.is_ok(), "its realm still works");
        neighbour.moves_out().await;
    });
}

#[test]
fn a_proc_sees_nothing_of_the_host() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of the host");
        let port = listener.local_addr().unwrap().port();
        let pid = tenant.spawn_followed(&format!("probe {port}")).await;
        tenant.said(pid, "ready: yes").await;
        let sigmad = machine.sigmad().await;
        let process = host::find(sigmad, &format!("probe {port}")).expect("its process");

        // From the outside: no capabilities, none to regain, a filter, no way to new privileges.
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(host::status(process, set).as_deref(), Some("0000000000000000"), "{set}");
        }
        assert_eq!(host::status(process, "NoNewPrivs:").as_deref(), Some("1"));
        assert_eq!(host::status(process, "Seccomp:").as_deref(), Some("2"));
        let uids = host::status(process, "Uid:").unwrap();
        assert!(
            uids.split_whitespace().all(|uid| uid != "0"),
            "root inside or not, it is not root here: {uids}"
        );
        for namespace in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
            let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
            assert_ne!(of(process), of(std::process::id()), "{namespace}");
        }
        let root = std::fs::read_dir(format!("/proc/{process}/root/")).unwrap();
        assert_eq!(root.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>(), [""; 0], "its root");
        // Its only descriptors are 0-3: pipes, and the door.
        let mut fds: Vec<_> = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten().collect();
        fds.sort_by_key(std::fs::DirEntry::file_name);
        let fds: Vec<_> = fds
            .iter()
            .map(|fd| {
                std::fs::read_link(fd.path()).unwrap().to_string_lossy().split(':').next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(fds, ["pipe", "pipe", "pipe", "socket"]);
        let adjusted = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        assert!(adjusted.trim().parse::<i32>().unwrap() > 0, "oom_score_adj {adjusted}");

        // From the inside.
        tenant.feed(pid, "").await.unwrap();
        tenant.wait_exit(pid).await;
        let said = tenant.stdout(pid).await;
        for line in ["threads: work", "file: errno 1", "net: errno 1"] {
            assert!(said.contains(line), "{said}");
        }
    });
}

#[test]
fn two_realms_have_jails_and_uids_of_their_own() {
    story(async |machine| {
        let (one, other) = (machine.realm("one").await, machine.realm("other").await);
        let line = "actor start wait-kill";
        let pids = [one.start(line).await, other.start(line).await];
        let sigmad = machine.sigmad().await;
        let processes: Vec<_> =
            host::descendants(sigmad).into_iter().filter(|pid| host::command(*pid) == line).collect();
        assert_eq!(processes.len(), 2);
        let distinct = |what: &dyn Fn(u32) -> String| assert_ne!(what(processes[0]), what(processes[1]));
        distinct(&|pid| host::status(pid, "Uid:").unwrap());
        for namespace in ["user", "pid", "mnt", "net", "ipc"] {
            distinct(&|pid| {
                std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap().display().to_string()
            });
        }
        one.kill(pids[0]).await;
        other.kill(pids[1]).await;
        one.wait_exit(pids[0]).await;
        other.wait_exit(pids[1]).await;
    });
}

#[test]
fn a_layer_that_the_operator_takes_away_is_shown_as_missing() {
    story_with(&["--insecure-without", "seccomp"], async |machine| {
        let tenant = machine.realm("a").await;
        let (on, note) = machine.layer("seccomp").await;
        assert!(!on && note.contains("--insecure-without=seccomp"), "{note}");
        assert!(machine.layer("landlock").await.0);
        let shown = machine.ok(&["status"]).await;
        assert!(shown.contains("WITHOUT") && shown.contains("seccomp: switched off"), "{shown}");
        // And it is missing: what the stories above see refused is not.
        let status = tenant.run("hostile").await;
        assert!(!status.is_ok(), "without the filter something is allowed: {status}");
        let pid = tenant.spawn_followed("probe 9").await;
        tenant.said(pid, "ready: yes").await;
        let process = host::find(machine.sigmad().await, "probe 9").unwrap();
        assert_eq!(host::status(process, "Seccomp:").as_deref(), Some("0"));
        tenant.feed(pid, "").await.unwrap();
        tenant.wait_exit(pid).await;
    });
}

#[test]
fn each_layer_can_be_taken_away_alone_and_its_absence_is_shown() {
    for layer in Layer::ALL {
        story_with(&["--insecure-without", layer.name()], async |machine| {
            let tenant = machine.realm("a").await;
            assert!(tenant.run("noop").await.is_ok(), "procs run without {layer}");
            for other in Layer::ALL.into_iter().filter(|other| *other != Layer::Cgroup) {
                let (on, note) = machine.layer(other.name()).await;
                assert_eq!(on, other != layer, "without {layer}, {other} is {on}: {note}");
            }
            let (on, note) = machine.layer(layer.name()).await;
            assert!(!on && note.contains(&format!("--insecure-without={layer}")), "{layer}: {note}");
        });
    }
}

#[test]
fn a_control_group_limits_a_proc_unless_it_is_taken_away() {
    let most_tasks = async |machine: &Machine| {
        let tenant = machine.realm("a").await;
        let pid = tenant.spawn_followed("probe 9").await;
        tenant.said(pid, "ready: yes").await;
        let process = host::find(machine.sigmad().await, "probe 9").unwrap();
        let group = host::cgroup(process, "pids").unwrap();
        tenant.feed(pid, "").await.unwrap();
        tenant.wait_exit(pid).await;
        std::fs::read_to_string(group.join("pids.max")).ok()
    };
    story(async |machine| {
        if machine.has_cgroups().await {
            assert_eq!(most_tasks(machine).await.as_deref(), Some("512\n"));
        }
    });
    story_with(&["--insecure-without", "cgroup"], async |machine| {
        assert_ne!(most_tasks(machine).await.as_deref(), Some("512\n"));
    });
}

/// A bare connection to the kernel's local socket.
fn raw(machine: &Machine) -> UnixStream {
    let address = SocketAddrUnix::new(machine.state().join("sigma.sock")).expect("a short path");
    let stream = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
    connect(&stream, &address).expect("the kernel listens");
    let stream = UnixStream::from(stream);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
    stream
}

/// Sends bytes and reads until the kernel closes the connection; gives its reason.
fn refused(machine: &Machine, bytes: &[u8]) -> String {
    let mut stream = raw(machine);
    // It may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // What it has not read when it closes is told so.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the kernel neither answers nor closes: {error}"),
    }
    let mut said = said.as_slice().into();
    while let Ok(Some(frame)) = Frame::decode(&mut said) {
        if frame.kind == Kind::Bye {
            return frame.message::<proto::Failure>().expect("a reason").message;
        }
    }
    String::new()
}

#[test]
fn garbage_on_its_door_costs_a_proc_its_door_and_nobody_anything_else() {
    story(async |machine| {
        let neighbour = Neighbour::moves_in(machine).await;
        let tenant = machine.realm("a").await;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut huge = Frame::new(Kind::Call, 1, "Proc.List", &proto::Empty {}).encode();
        huge[..4].fill(0xff);
        let hello = wire::hello(None).encode();
        let accept =
            Frame { fds: 1, ..Frame::new(Kind::Notice, 0, "Link.Accept", &proto::Accept::default()) };
        let garbage = [
            ("huge", huge.to_vec()),
            ("ones", vec![0xff; 64]),
            ("text", b"GET / HTTP/1.1 and so on and on\r\n".to_vec()),
            ("a call first", Frame::new(Kind::Call, 1, "Proc.List", &proto::Empty {}).encode().to_vec()),
            ("two greetings", [hello.to_vec(), hello.to_vec()].concat()),
            ("a descriptor that is not there", [hello.to_vec(), accept.encode().to_vec()].concat()),
        ];
        for (what, bytes) in garbage {
            let pid = tenant.start(&format!("plain door:{} say:went-on exit:0", hex(&bytes))).await;
            assert_eq!(tenant.wait_exit(pid).await, Status::ok(), "{what}");
            let said = tenant.stdout(pid).await;
            assert!(said.contains("the door was closed: ") && said.ends_with("went-on\n"), "{what}: {said}");
            neighbour.is_well().await;
        }
        assert!(tenant.run("actor start").await.is_ok());
        neighbour.moves_out().await;
    });
}

#[test]
fn a_proc_has_no_rights_of_the_operator() {
    story(async |machine| {
        let tenant = machine.realm("a").await;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let shutdown = Frame::new(Kind::Call, 1, "Admin.Shutdown", &proto::Empty {}).encode();
        // What follows closes the connection, so that the answer before it can be read to its end.
        let bytes = [wire::hello(None).encode().to_vec(), shutdown.to_vec(), vec![0xff; 64]].concat();
        let pid = tenant.start(&format!("plain door:{}", hex(&bytes))).await;
        tenant.wait_exit(pid).await;
        let said = tenant.stdout(pid).await;
        assert!(said.contains("does not implement Admin.Shutdown"), "{said}");
        machine.ok(&["run", "hello"]).await;
    });
}

#[test]
fn garbage_on_the_local_socket_closes_that_connection_and_nothing_else() {
    story(async |machine| {
        let neighbour = Neighbour::moves_in(machine).await;
        let hello = wire::hello(None).encode();
        let call = |method| Frame::new(Kind::Call, 1, method, &proto::Empty {}).encode();
        let mut huge = call("Admin.RealmList");
        // The length of the body comes first.
        huge[..4].fill(0xff);
        let garbage: Vec<(&str, Vec<u8>)> = vec![
            ("no frame at all", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100)),
            ("zeros", vec![0; 4096]),
            ("ones", vec![0xff; 4096]),
            ("a huge length first", huge.to_vec()),
            ("a call before the Hello", call("Admin.Shutdown").to_vec()),
            ("a second Hello", [hello.to_vec(), hello.to_vec()].concat()),
            ("a huge length later", [hello.to_vec(), huge.to_vec()].concat()),
        ];
        for (what, bytes) in garbage {
            let reason = refused(machine, &bytes);
            assert!(!reason.is_empty(), "{what}: it says why");
            neighbour.is_well().await;
        }
        let future = Frame::new(Kind::Hello, 0, "", &proto::Hello { version: 99, ..Default::default() });
        assert!(refused(machine, &future.encode()).contains("version 99"));
        let unknown = proto::Hello { version: 1, realm: "../x".into(), ..Default::default() };
        refused(machine, &Frame::new(Kind::Hello, 0, "", &unknown).encode());
        // Connections that say nothing take nothing from others.
        let silent: Vec<_> = (0..100).map(|_| raw(machine)).collect();
        machine.ok(&["run", "hello"]).await;
        drop(silent);
        neighbour.moves_out().await;
    });
}
