//! Frames: the one format of everything that crosses a stream socket. PROTOCOL.md draws it.
//!
//! A frame is a prefix of [`PREFIX`] bytes, the method's name, a protobuf head and a raw payload beside it. Encoding
//! and decoding are pure; payloads are passed on without a copy.

use crate::limits::{MAX_FDS, MAX_HEAD, MAX_METHOD, MAX_PAYLOAD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes before the method's name.
pub const PREFIX: usize = 20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first frame in each direction.
    Hello = 0,
    /// Asks for a [`Kind::Reply`] or [`Kind::Failure`] with the same tag.
    Call = 1,
    Reply = 2,
    Failure = 3,
    /// The caller no longer waits for this tag.
    Cancel = 4,
    /// Asks for no reply.
    Notice = 5,
    /// The sender closes the connection; the head is a `Failure` that says why.
    Bye = 6,
}

/// One frame, decoded as far as it goes without knowing the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub kind: Kind,
    /// Pairs a reply with its call; chosen by the caller.
    pub tag: u32,
    /// The rpc device that is called; 0: the server itself.
    pub handle: u32,
    /// `Service.Method` of a call or notice; empty otherwise.
    pub method: Bytes,
    pub head: Bytes,
    pub payload: Bytes,
    /// Descriptors that travel with the frame. Only a kernel may send any.
    pub fds: u8,
}

/// Why a stream of bytes is not a stream of frames. The connection is closed with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    #[error("a frame announces {part} of {length} bytes: the limit is {limit}")]
    TooLarge { part: &'static str, length: usize, limit: usize },
    #[error("a frame announces {head} bytes of head within {body} bytes of body")]
    Lengths { head: usize, body: usize },
    #[error("the name of a method is not UTF-8")]
    Method,
    #[error("bytes that must be zero are not")]
    Reserved,
    #[error("the head of a frame is not the message that it should be: {0}")]
    Head(String),
}

impl Frame {
    pub fn new(kind: Kind, tag: u32, method: &'static str, head: &impl Message) -> Self {
        Self {
            kind,
            tag,
            handle: 0,
            method: Bytes::from_static(method.as_bytes()),
            head: head.encode_to_vec().into(),
            payload: Bytes::new(),
            fds: 0,
        }
    }

    /// The method's name; it was checked when the frame was decoded.
    pub fn method(&self) -> &str {
        std::str::from_utf8(&self.method).unwrap_or("")
    }

    /// Decodes the head as the message that the method says it is.
    ///
    /// # Errors
    /// [`Malformed::Head`].
    pub fn message<M: Message + Default>(&self) -> Result<M, Malformed> {
        M::decode(self.head.clone()).map_err(|error| Malformed::Head(error.to_string()))
    }

    /// Appends everything but the payload, of which so many bytes follow it on the wire.
    pub fn encode_start(&self, payload: usize, out: &mut BytesMut) {
        let body = self.method.len() + self.head.len() + payload;
        debug_assert!(self.method.len() <= MAX_METHOD && self.head.len() <= MAX_HEAD);
        debug_assert!(payload <= MAX_PAYLOAD && usize::from(self.fds) <= MAX_FDS);
        out.reserve(PREFIX + self.method.len() + self.head.len());
        out.put_u32_le(body as u32);
        out.put_u8(self.kind as u8);
        out.put_u8(self.method.len() as u8);
        out.put_u8(self.fds);
        out.put_u8(0);
        out.put_u32_le(self.tag);
        out.put_u32_le(self.handle);
        out.put_u32_le(self.head.len() as u32);
        out.put_slice(&self.method);
        out.put_slice(&self.head);
    }

    /// The whole frame in one buffer.
    pub fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.encode_start(self.payload.len(), &mut out);
        out.put_slice(&self.payload);
        out
    }

    /// Takes the first whole frame off `buffer`; `None` until it is all there.
    ///
    /// # Errors
    /// [`Malformed`], as soon as the prefix shows it: nothing is ever reserved for a frame past the limits.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let Some(prefix) = Prefix::read(buffer)? else { return Ok(None) };
        if buffer.len() < PREFIX + prefix.body {
            buffer.reserve(PREFIX + prefix.body - buffer.len());
            return Ok(None);
        }
        buffer.advance(PREFIX);
        let mut body = buffer.split_to(prefix.body).freeze();
        let method = body.split_to(prefix.method);
        let head = body.split_to(prefix.head);
        std::str::from_utf8(&method).map_err(|_| Malformed::Method)?;
        Ok(Some(Self {
            kind: prefix.kind,
            tag: prefix.tag,
            handle: prefix.handle,
            method,
            head,
            payload: body,
            fds: prefix.fds,
        }))
    }
}

struct Prefix {
    body: usize,
    kind: Kind,
    method: usize,
    fds: u8,
    tag: u32,
    handle: u32,
    head: usize,
}

impl Prefix {
    fn read(buffer: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(mut bytes) = buffer.get(..PREFIX) else { return Ok(None) };
        let body = bytes.get_u32_le() as usize;
        let kind = match bytes.get_u8() {
            0 => Kind::Hello,
            1 => Kind::Call,
            2 => Kind::Reply,
            3 => Kind::Failure,
            4 => Kind::Cancel,
            5 => Kind::Notice,
            6 => Kind::Bye,
            other => return Err(Malformed::Kind(other)),
        };
        let method = usize::from(bytes.get_u8());
        let fds = bytes.get_u8();
        if bytes.get_u8() != 0 {
            return Err(Malformed::Reserved);
        }
        let tag = bytes.get_u32_le();
        let handle = bytes.get_u32_le();
        let head = bytes.get_u32_le() as usize;
        within("a method's name", method, MAX_METHOD)?;
        within("a head", head, MAX_HEAD)?;
        within("descriptors", usize::from(fds), MAX_FDS)?;
        let payload =
            body.checked_sub(method + head).ok_or(Malformed::Lengths { head: method + head, body })?;
        within("a payload", payload, MAX_PAYLOAD)?;
        Ok(Some(Self { body, kind, method, fds, tag, handle, head }))
    }
}

fn within(part: &'static str, length: usize, limit: usize) -> Result<(), Malformed> {
    if length <= limit { Ok(()) } else { Err(Malformed::TooLarge { part, length, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Frame {
        Frame {
            kind: Kind::Call,
            tag: 7,
            handle: 9,
            method: Bytes::from_static(b"Namespace.Get"),
            head: Bytes::from_static(b"head"),
            payload: Bytes::from_static(b"payload"),
            fds: 0,
        }
    }

    #[test]
    fn a_frame_in_pieces_is_whole_once_its_last_byte_came() {
        let wire = sample().encode();
        let mut buffer = BytesMut::new();
        for (index, byte) in wire.iter().enumerate() {
            assert_eq!(Frame::decode(&mut buffer).unwrap(), None, "after {index} bytes");
            buffer.put_u8(*byte);
        }
        assert_eq!(Frame::decode(&mut buffer).unwrap(), Some(sample()));
        assert!(buffer.is_empty());
    }

    #[test]
    fn wrong_prefixes_are_refused_before_anything_is_reserved() {
        let check = |change: fn(&mut [u8]), expect: Malformed| {
            let mut wire = sample().encode();
            change(&mut wire);
            wire.truncate(PREFIX);
            assert_eq!(Frame::decode(&mut wire), Err(expect));
        };
        check(|wire| wire[4] = 99, Malformed::Kind(99));
        check(|wire| wire[7] = 1, Malformed::Reserved);
        check(
            |wire| wire[0..4].fill(0xff),
            Malformed::TooLarge { part: "a payload", length: u32::MAX as usize - 17, limit: MAX_PAYLOAD },
        );
        check(
            |wire| wire[16..20].fill(0xff),
            Malformed::TooLarge { part: "a head", length: u32::MAX as usize, limit: MAX_HEAD },
        );
        check(|wire| wire[0..4].fill(0), Malformed::Lengths { head: 17, body: 0 });
        check(|wire| wire[6] = 200, Malformed::TooLarge { part: "descriptors", length: 200, limit: MAX_FDS });
    }

    /// What a receiver gets is a part of the buffer that the system wrote into.
    #[test]
    fn a_decoded_payload_is_not_a_copy() {
        let payload = Bytes::from(vec![7; MAX_PAYLOAD]);
        let mut buffer = Frame { payload, ..sample() }.encode();
        let read = buffer.as_ptr_range();
        let frame = Frame::decode(&mut buffer).unwrap().unwrap();
        let got = frame.payload.as_ptr_range();
        assert_eq!(frame.payload.len(), MAX_PAYLOAD);
        assert!(read.start < got.start && got.end == read.end, "{read:?} {got:?}");
    }

    proptest! {
        #[test]
        fn garbage_is_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut buffer) {}
        }

        #[test]
        fn frames_survive_the_wire_however_they_are_cut(
            frames in proptest::collection::vec((0u32.., 0u32.., "[a-zA-Z.]{0,20}", any::<Vec<u8>>(), any::<Vec<u8>>()), 1..5),
            step in 1usize..50,
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(tag, handle, method, head, payload)| Frame {
                kind: Kind::Reply, tag, handle, method: method.into(), head: head.into(), payload: payload.into(), fds: 0,
            }).collect();
            let wire: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().to_vec()).collect();
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(step) {
                buffer.put_slice(piece);
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
        }
    }
}
