//! Whatever a client sends, it is answered or its connection ends; the tree stays whole, and others are served.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use sigma_abi::frame::{Frame, Kind};
use sigma_abi::proto::{
    AliveRequest, CloseRequest, CreateRequest, ElectRequest, EndedRequest, EventsRequest, Fence,
    MountRequest, OpenRequest, PathRequest, PutRequest, ReadDirRequest, ReadRequest, RemoveRequest,
    RenameRequest, Stamp, WaitRequest, WatchRequest, WriteRequest,
};
use sigmaos::stub::NamespaceClient;

/// A call, or bytes that are none.
#[derive(Clone, Debug)]
enum Sent {
    Call { method: &'static str, head: Vec<u8>, payload: Vec<u8> },
    Frame { kind: Kind, tag: u32 },
    Bytes(Vec<u8>),
}

fn path() -> impl Strategy<Value = String> {
    let odd = vec!["", "/", "relative", "/..", "/a\0", "//a//", "/~any", "/a/~local/b", "/\u{1F600}"];
    prop_oneof![
        6 => "/[abc](/[abc]){0,2}",
        1 => select(odd).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (0usize..3).prop_map(|more| format!("/{}", "n".repeat(254 + more))),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..6, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn stamp() -> impl Strategy<Value = Option<Stamp>> {
    let stamp = (0u64..3, number(), number());
    proptest::option::of(stamp.prop_map(|(session, number, done)| Stamp { session, number, done }))
}

fn fences() -> impl Strategy<Value = Vec<Fence>> {
    let fence = (path(), number()).prop_map(|(path, epoch)| Fence { path, epoch });
    prop_oneof![5 => Just(Vec::new()), 1 => proptest::collection::vec(fence, 1..20)]
}

/// A message of each kind, its fields within and beyond what makes sense.
fn call() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let marks = (stamp(), fences());
    let everything = (path(), path(), number(), number(), any::<[bool; 4]>(), marks, 0usize..20);
    everything.prop_map(|(path, other, first, second, flags, (stamp, fences), which)| {
        let [one, two, three, four] = flags;
        let (handle, perm) = (first as u32, second as u32);
        match which {
            0 => ("Namespace.Get", PathRequest { path }.encode_to_vec()),
            1 | 2 => {
                let put = PutRequest { path, perm, exclusive: one, ephemeral: two, fences, stamp };
                ("Namespace.Put", put.encode_to_vec())
            }
            3 => ("Namespace.Stat", PathRequest { path }.encode_to_vec()),
            4 | 5 => {
                let kind = (first % 8) as i32;
                let target = if kind == 2 || three { other } else { String::new() };
                let create = CreateRequest {
                    path,
                    kind,
                    perm: 0o66,
                    exclusive: one,
                    target,
                    ephemeral: two,
                    fences,
                    stamp,
                };
                ("Namespace.Create", create.encode_to_vec())
            }
            6 => {
                let open = OpenRequest {
                    path,
                    read: one,
                    write: two,
                    create: three,
                    truncate: four,
                    perm,
                    entry: second,
                    ephemeral: false,
                    fences,
                    stamp,
                };
                ("Namespace.Open", open.encode_to_vec())
            }
            7 => ("Namespace.Read", ReadRequest { handle, offset: second, length: perm }.encode_to_vec()),
            8 => ("Namespace.Write", WriteRequest { handle, offset: second, fences, stamp }.encode_to_vec()),
            9 => ("Namespace.Close", CloseRequest { handle, discard: one }.encode_to_vec()),
            10 => ("Namespace.Remove", RemoveRequest { path, entry: first, fences, stamp }.encode_to_vec()),
            11 => {
                ("Namespace.Rename", RenameRequest { from: path, to: other, fences, stamp }.encode_to_vec())
            }
            12 => ("Namespace.ReadDir", ReadDirRequest { path, after: other, limit: perm }.encode_to_vec()),
            13 => ("Namespace.ReadLink", PathRequest { path }.encode_to_vec()),
            14 => {
                let endpoint = one.then(|| proto::Endpoint {
                    machine: other,
                    pid: "x".into(),
                    generation: first,
                    ..Default::default()
                });
                ("Namespace.Mount", MountRequest { path, perm, endpoint, fences, stamp }.encode_to_vec())
            }
            15 => ("Namespace.Resolve", PathRequest { path }.encode_to_vec()),
            16 => ("Namespace.Wait", WaitRequest { path, removed: one, entry: first }.encode_to_vec()),
            17 => ("Namespace.Watch", WatchRequest { path, after: first, entry: second }.encode_to_vec()),
            18 => ("Namespace.Events", EventsRequest { handle, seen: second }.encode_to_vec()),
            _ if one => ("Namespace.Elect", ElectRequest { path, perm, fence: other, stamp }.encode_to_vec()),
            _ if two => ("NamedControl.Ended", EndedRequest { pid: other }.encode_to_vec()),
            _ => ("NamedControl.Alive", AliveRequest { machine: path, pids: vec![other] }.encode_to_vec()),
        }
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let kinds = vec![Kind::Hello, Kind::Reply, Kind::Failure, Kind::Cancel, Kind::Notice, Kind::Bye];
    let payload = prop_oneof![Just(0usize), 0usize..50, Just(5000)];
    prop_oneof![
        30 => (call(), payload).prop_map(|((method, head), payload)| Sent::Call { method, head, payload: vec![7; payload] }),
        // A message with some of its bytes changed.
        6 => (call(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|((method, mut head), place, byte)| {
            if !head.is_empty() {
                let place = place.index(head.len());
                head[place] = byte;
            }
            Sent::Call { method, head, payload: Vec::new() }
        }),
        2 => (select(kinds), 0u32..40).prop_map(|(kind, tag)| Sent::Frame { kind, tag }),
        1 => any::<Vec<u8>>().prop_map(Sent::Bytes),
    ]
}

/// What goes wrong with the bytes of a whole conversation.
#[derive(Clone, Debug)]
enum Edit {
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        1 => (at(), 1usize..200).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (at(), 1usize..200).prop_map(|(at, count)| Edit::Repeat(at, count)),
    ]
}

/// What a client sends, mostly as it should be.
fn conversation() -> impl Strategy<Value = (Vec<Sent>, Vec<Edit>)> {
    let edits = prop_oneof![Just(Vec::new()), proptest::collection::vec(edit(), 1..4)];
    (proptest::collection::vec(sent(), 0..60), edits)
}

fn spoil(wire: &mut Vec<u8>, edit: &Edit) {
    let length = wire.len();
    if length == 0 {
        return;
    }
    let piece = |at: &prop::sample::Index, count: usize| {
        let from = at.index(length);
        from..length.min(from + count)
    };
    match edit {
        Edit::Set(at, byte) => {
            wire[at.index(length)] = *byte;
        }
        Edit::Remove(at, count) => drop(wire.drain(piece(at, *count))),
        Edit::Repeat(at, count) => {
            let piece = piece(at, *count);
            let again = wire[piece.clone()].to_vec();
            wire.splice(piece.end..piece.end, again);
        }
    }
}

/// Sends all of it on one connection, with what goes wrong, without reading an answer, and waits for the end.
async fn send(server: &Server, sent: Vec<Sent>, edits: &[Edit]) {
    let socket = dial(server, 7);
    let mut wire = Vec::new();
    for (tag, one) in (1u32..).zip(sent) {
        match one {
            Sent::Call { method, head, payload } => {
                let frame = Frame {
                    head: head.into(),
                    payload: payload.into(),
                    ..Frame::new(Kind::Call, tag, method, &proto::Empty {})
                };
                wire.extend_from_slice(&frame.encode());
            }
            Sent::Frame { kind, tag } => {
                wire.extend_from_slice(&Frame::new(kind, tag, "", &proto::Empty {}).encode())
            }
            Sent::Bytes(bytes) => wire.extend_from_slice(&bytes),
        }
    }
    edits.iter().for_each(|edit| spoil(&mut wire, edit));
    socket.set_nonblocking(true).unwrap();
    let (mut read, mut write) = tokio::net::UnixStream::from_std(socket).unwrap().into_split();
    let writing = async {
        // A connection that ended in the middle takes no more.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &wire).await;
        drop(write);
    };
    let reading = async { tokio::io::copy(&mut read, &mut tokio::io::sink()).await };
    let _ = tokio::join!(writing, reading);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_client_sends_harms_the_server(clients in proptest::collection::vec(conversation(), 1..4)) {
        block_on(async {
            let server = in_memory();
            for (sent, edits) in clients {
                let ends = tokio::time::timeout(std::time::Duration::from_secs(10), send(&server, sent, &edits));
                assert!(ends.await.is_ok(), "the connection ends with its client");
                server.shared.core().state.tree.check();
                let other = NamespaceClient(client(&server, 8));
                let path = PathRequest { path: "/".into() };
                assert_eq!(other.stat(path).await.unwrap().name, "/");
            }
        });
    }
}
