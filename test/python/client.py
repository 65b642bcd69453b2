"""A client that knows os/abi/PROTOCOL.md alone: the standard library, protobuf, and nothing of ours.

usage: client.py STATE REALM ECHO    STATE: a state directory; ECHO: where the test proc "echo serve" is mounted

It walks, reads, writes, watches and calls, and checks what it sees; what is not as written ends in a traceback.
"""

import os, random, socket, struct, sys, time
from collections import deque

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HELLO, CALL, REPLY, FAILURE, CANCEL, NOTICE, BYE = range(7)
PREFIX = struct.Struct("<IBBBBIII")
FILE, DIRECTORY, SYMLINK, MOUNT, PIPE, RPC_DEVICE = range(6)


class Interface:
    def __init__(self, descriptors):
        self.pool = descriptor_pool.DescriptorPool()
        self.methods = {}
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
            self.pool.Add(file)
            for service in file.service:
                for method in self.pool.FindServiceByName(f"{file.package}.{service.name}").methods:
                    self.methods[f"{service.name}.{method.name}"] = method

    def message(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def request(self, method):
        return self.message(self.methods[method].input_type.full_name)

    def reply(self, method):
        return self.message(self.methods[method].output_type.full_name)


class Failed(Exception):
    def __init__(self, failure, code):
        super().__init__(f"{code}: {failure.message}")
        self.code, self.maybe_done, self.moved = code, failure.maybe_done, failure.moved


class Connection:
    """Frames over a socket: many calls in flight, answers in any order."""

    def __init__(self, sock, interface):
        self.sock, self.interface = sock, interface
        self.buffer, self.fds = b"", deque()
        self.last_tag, self.answers, self.hello = 0, {}, None

    def send(self, kind, tag=0, method="", head=b"", payload=b"", device=0):
        body = method.encode() + head + payload
        self.sock.sendall(PREFIX.pack(len(body), kind, len(method), 0, 0, tag, device, len(head)) + body)

    def frame(self):
        while len(self.buffer) < 20 or len(self.buffer) < 20 + PREFIX.unpack_from(self.buffer)[0]:
            data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 8)
            if not data:
                raise ConnectionError("closed by the other side")
            self.buffer += data
            self.fds.extend(fds)
        body, kind, name, count, _, tag, _, head = PREFIX.unpack_from(self.buffer)
        rest, self.buffer = self.buffer[20 : 20 + body], self.buffer[20 + body :]
        fds = [self.fds.popleft() for _ in range(count)]
        return kind, tag, rest[name : name + head], rest[name + head :], fds

    def greet(self):
        kind, _, head, _, _ = self.frame()
        assert kind == HELLO, kind
        self.hello = self.interface.message("sigma.Hello").FromString(head)
        assert self.hello.version == 1

    def start(self, method, payload=b"", device=0, interface=None, **fields):
        self.last_tag += 1
        request = (interface or self.interface).request(method)(**fields)
        self.send(CALL, self.last_tag, method, request.SerializeToString(), payload, device)
        return self.last_tag

    def finish(self, tag, method, interface=None):
        while tag not in self.answers:
            kind, answered, *answer = self.frame()
            if kind == BYE:
                raise self.failed(answer[0])
            assert kind in (REPLY, FAILURE), kind
            self.answers[answered] = (kind, *answer)
        kind, head, payload, fds = self.answers.pop(tag)
        if kind == FAILURE:
            raise self.failed(head)
        return (interface or self.interface).reply(method).FromString(head), payload, fds

    def failed(self, head):
        failure = self.interface.message("sigma.Failure").FromString(head)
        codes = self.interface.pool.FindEnumTypeByName("sigma.Code").values_by_number
        return Failed(failure, codes[failure.code].name.removeprefix("CODE_"))

    def call(self, method, payload=b"", device=0, interface=None, **fields):
        return self.finish(self.start(method, payload, device, interface, **fields), method, interface)


class Realm:
    """A tool in a realm: the kernel by its local socket, servers by mount, changes exactly once."""

    def __init__(self, state, realm):
        with open(os.path.join(state, "sigma.descriptor"), "rb") as file:
            self.interface = Interface(file.read())
        directory = os.open(state, os.O_PATH)  # an address has room for 107 bytes
        self.kernel = Connection(socket.socket(socket.AF_UNIX), self.interface)
        self.kernel.sock.connect(f"/proc/self/fd/{directory}/sigma.sock")
        os.close(directory)
        hello = self.interface.message("sigma.Hello")(version=1, realm=realm)
        self.kernel.send(HELLO, head=hello.SerializeToString())
        self.kernel.greet()
        self.me = self.kernel.hello.caller
        self.servers, self.redialled = {}, 0
        self.session, self.number = random.getrandbits(64), 0

    def dial(self, mount):
        if mount not in self.servers:
            reply, _, fds = self.kernel.call("Link.Dial", path=mount)
            assert reply.mount == mount and len(fds) == 1, reply
            server = Connection(socket.socket(fileno=fds[0]), self.interface)
            server.greet()  # the kernel has written both Hellos
            self.servers[mount] = server
        return self.servers[mount]

    def at(self, path, method, payload=b"", path_in="path", **fields):
        """The answer, its payload, and the server that gave it: from server to server."""
        mount, rest = "/", path
        for _ in range(16):
            try:
                server = self.dial(mount)
                reply, data, _ = server.call(method, payload, **{path_in: rest}, **fields)
                return reply, data, server
            except Failed as failed:
                if failed.code != "MOVED":
                    raise
                mount, rest = failed.moved.mount, failed.moved.rest
        raise RecursionError(path)

    def stamp(self):
        self.number += 1  # one change at a time: all before it have their answers
        return dict(session=self.session, number=self.number, done=self.number - 1)

    def change(self, path, method, payload=b"", **fields):
        """A change, sent again under the same number until there is an answer."""
        stamp, until = self.stamp(), time.monotonic() + 30
        while True:
            try:
                return self.at(path, method, payload, stamp=stamp, **fields)[0]
            except ConnectionError:
                assert time.monotonic() < until, "named does not come back"
                self.servers.clear()
                self.redialled += 1


def expect(code, attempt, *args, **fields):
    try:
        done = attempt(*args, **fields)
    except Failed as failed:
        assert failed.code == code, f"{failed}, and not {code}"
        return failed
    raise AssertionError(f"{code} was expected, and not {done}")


def walk_read_and_write(realm):
    stat = realm.change("/py", "Namespace.Create", kind=DIRECTORY, perm=0o66).stat
    assert (stat.name, stat.kind, stat.perm, stat.owner) == ("py", DIRECTORY, 0o66, realm.me.principal), stat
    stat = realm.change("/py/note", "Namespace.Put", b"some bytes", perm=0o66, exclusive=True)
    assert (stat.size, stat.kind) == (10, FILE) and stat.entry > 0, stat
    expect("EXISTS", realm.change, "/py/note", "Namespace.Put", b"x", perm=0o66, exclusive=True)
    realm.change("/link", "Namespace.Create", kind=SYMLINK, target="/py", perm=0o66)
    assert realm.at("/link/note", "Namespace.Get")[1] == b"some bytes"  # through a symlink
    assert realm.at("/link", "Namespace.ReadLink")[0].target == "/py"
    # Through a mount, by its union name: another server, which is asked with what is left of the path.
    realm.change("/ux/~local/file", "Namespace.Put", b"on disk", perm=0o66)
    disk = f"/ux/{realm.me.machine}"
    assert realm.at(f"{disk}/file", "Namespace.Get")[1] == b"on disk" and disk in realm.servers
    where = realm.dial("/").call("Namespace.Resolve", path="/ux/~local/file")[0]
    assert (where.mount, where.rest) == (disk, "/file"), where
    for name in ("a", "b", "c"):
        realm.change(f"/py/{name}", "Namespace.Put", perm=0o66)
    page = realm.at("/py", "Namespace.ReadDir", limit=2)[0]
    assert [entry.name for entry in page.entries] == ["a", "b"] and page.more, page
    page = realm.at("/py", "Namespace.ReadDir", after="b")[0]
    assert [entry.name for entry in page.entries] == ["c", "note"] and not page.more, page
    # An open file, by its handle, which outlives the name.
    opened, _, named = realm.at("/py/note", "Namespace.Open", read=True, write=True)
    handle = opened.handle
    assert named.call("Namespace.Write", b"MORE", handle=handle, offset=5)[0].length == 4
    realm.change("/py/note", "Namespace.Remove")
    expect("NOT_FOUND", realm.at, "/py/note", "Namespace.Stat")
    assert named.call("Namespace.Read", handle=handle, length=100)[1] == b"some MOREs"
    named.call("Namespace.Close", handle=handle)
    expect("CLOSED", named.call, "Namespace.Read", handle=handle, length=1)
    for code, path in (("INVALID", "/py/.."), ("INVALID", "py"), ("TOO_LARGE", "/" + "n" * 256), ("IS_DIR", "/py")):
        assert not expect(code, realm.at, path, "Namespace.Get").maybe_done


def watch(realm):
    watching, _, named = realm.at("/py", "Namespace.Watch")
    asked = named.start("Namespace.Events", handle=watching.handle, seen=watching.stat.version)
    realm.change("/py/new", "Namespace.Put", b"x", perm=0o66)
    realm.change("/py/new", "Namespace.Rename", path_in="from", to="/py/newer")
    realm.change("/py/newer", "Namespace.Remove")
    events = list(named.finish(asked, "Namespace.Events")[0].events)
    while len(events) < 3:
        events += named.call("Namespace.Events", handle=watching.handle, seen=events[-1].version)[0].events
    seen = [(event.kind, event.name, event.to) for event in events]
    assert seen == [(0, "new", ""), (2, "new", "newer"), (1, "newer", "")], seen
    # Another watch goes on behind the first event, as after a broken connection.
    after = dict(path="/py", after=events[0].version)
    resumed = named.call("Namespace.Watch", entry=watching.stat.entry, **after)[0]
    missed = named.call("Namespace.Events", handle=resumed.handle, seen=events[0].version)[0].events
    assert [event.version for event in missed] == [event.version for event in events[1:]], missed
    expect("VERSION", named.call, "Namespace.Watch", entry=1, **after)
    # And one waits for a name.
    waiting = named.start("Namespace.Wait", path="/py/awaited")
    realm.change("/py/awaited", "Namespace.Create", kind=FILE, perm=0o66)
    assert named.finish(waiting, "Namespace.Wait")[0].name == "awaited"


def exactly_once(realm):
    named, stamp = realm.dial("/"), realm.stamp()
    fields = dict(path="/py/once", perm=0o66, exclusive=True, stamp=stamp)
    first, _, _ = named.call("Namespace.Put", b"x", **fields)
    again, _, _ = named.call("Namespace.Put", b"x", **fields)
    assert first == again, (first, again)
    realm.change("/py/once", "Namespace.Remove")  # it says that the answers before were taken
    assert "taken" in str(expect("INVALID", named.call, "Namespace.Put", b"x", **fields))
    print("changing", flush=True)
    while realm.redialled == 0:  # until the story has killed named
        realm.change("/py/round", "Namespace.Put", b"x", perm=0o66, exclusive=True)
        realm.change("/py/round", "Namespace.Rename", path_in="from", to="/py/done")
        realm.change("/py/done", "Namespace.Remove")
    names = [entry.name for entry in realm.at("/py", "Namespace.ReadDir")[0].entries]
    assert names == ["a", "awaited", "b", "c"], names


def fence(realm):
    named = realm.dial("/")
    old = realm.change("/py/leader", "Namespace.Elect", b"me", perm=0o66, fence="/py/a").epoch
    expect("EXISTS", realm.change, "/py/leader", "Namespace.Elect", b"me", perm=0o66, fence="/py/a")
    assert named.call("Namespace.Stat", path="/py/leader")[0].lease == realm.me.pid
    realm.change("/py/leader", "Namespace.Remove")
    new = realm.change("/py/leader", "Namespace.Elect", b"the next", perm=0o66, fence="/py/a").epoch
    assert new > old, (new, old)
    as_leader = lambda epoch: [dict(path="/py/a", epoch=epoch)]
    expect("STALE", realm.change, "/py/a", "Namespace.Put", b"old", fences=as_leader(old))
    realm.change("/py/a", "Namespace.Put", b"new", fences=as_leader(new))
    realm.change("/py/b", "Namespace.Put", b"beside it", fences=as_leader(old))


def pipe(realm):
    realm.change("/py/pipe", "Namespace.Create", kind=PIPE, perm=0o66)
    named = realm.dial("/")
    reading = named.start("Namespace.Open", path="/py/pipe", read=True)  # waits for a writer
    writer = named.call("Namespace.Open", path="/py/pipe", write=True)[0].handle
    reader = named.finish(reading, "Namespace.Open")[0].handle
    asked = named.start("Namespace.Read", handle=reader, length=100)
    named.call("Namespace.Write", b"through", handle=writer)
    assert named.finish(asked, "Namespace.Read")[1] == b"through"
    named.call("Namespace.Close", handle=writer)
    assert named.call("Namespace.Read", handle=reader, length=100)[1] == b""  # its last writer has closed


def rpc(realm, mount):
    # This program has never seen the .proto of the service: its descriptors lie beside the device.
    echo = Interface(realm.at(f"{mount}/rpc.descriptor", "Namespace.Get")[1])
    opened, _, server = realm.at(f"{mount}/rpc", "Namespace.Open", read=True, write=True)
    assert opened.stat.kind == RPC_DEVICE, opened
    device = dict(device=opened.handle, interface=echo)
    reply, payload, _ = server.call("Echo.Say", b"beside it", text="hello", **device)
    assert (reply.text, payload) == ("hello", b"beside it")
    who = server.call("Echo.Who", **device)[0].text.split()
    assert who[:3] == [realm.me.realm, realm.me.principal, realm.me.pid], who
    waiting = server.start("Echo.Wait", text="go", **device)
    hanging = server.start("Echo.Hang", **device)
    server.call("Echo.Working", count=2, **device)
    server.call("Echo.Release", text="go", **device)  # many in flight, answered in any order
    assert server.finish(waiting, "Echo.Wait", echo)[0].text == "go"
    server.send(CANCEL, hanging)
    server.call("Echo.Working", count=0, **device)
    expect("UNSUPPORTED", server.call, "Namespace.Stat", path="/", device=opened.handle)
    server.send(CALL, 1000, "Echo.Say", b"\xff", device=opened.handle)  # no protobuf: harms nobody
    expect("INVALID", server.finish, 1000, "Echo.Say", echo)
    server.send(CALL, 2000, "Echo.Hang", device=opened.handle)
    server.send(CALL, 2000, "Echo.Hang", device=opened.handle)  # in flight already: ends the connection
    expect("PROTOCOL", server.finish, 2000, "Echo.Hang", echo)


if __name__ == "__main__":
    state, name, mount = sys.argv[1:]
    ours = Realm(state, name)
    assert ours.me.realm == name and ours.me.kernel, ours.me
    for part in (walk_read_and_write, watch, exactly_once, fence, pipe):
        part(ours)
    rpc(ours, mount)
    print("all as written")
