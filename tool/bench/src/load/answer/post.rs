//! An entry of a timeline, as DeathStarBench's front end writes it.

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

#[derive(Debug, Deserialize)]
pub(super) struct Post<'a> {
    pub(super) post_id: Number,
    #[serde(borrow)]
    pub(super) creator: User<'a>,
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) user_mentions: List<User<'a>>,
    #[serde(borrow)]
    pub(super) media: List<Media<'a>>,
    #[serde(borrow)]
    pub(super) urls: List<Url<'a>>,
    pub(super) timestamp: Number,
    pub(super) post_type: u64,
    /// Of the request that made it; it says nothing that could be checked, but has to be there.
    #[serde(rename = "req_id")]
    _request: Number,
}

#[derive(Debug, Deserialize)]
pub(super) struct User<'a> {
    pub(super) user_id: Number,
    #[serde(borrow)]
    pub(super) username: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Media<'a> {
    #[serde(rename = "media_id")]
    _id: Number,
    #[serde(borrow)]
    pub(super) media_type: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Url<'a> {
    #[serde(borrow)]
    pub(super) shortened_url: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) expanded_url: Cow<'a, str>,
}

/// A number of 64 bits, which may be written as text, since JavaScript would round it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(pub(super) u64);

/// A list. An empty one may be written as an empty object, as Lua does.
#[derive(Debug)]
pub(super) struct List<T>(Vec<T>);

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Number;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, plain or as text")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(|_| E::custom(format_args!("{text:?} is no number")))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = List<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    entries.push(entry);
                }
                Ok(List(entries))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<T>, A::Error> {
                match map.next_key::<Cow<'_, str>>()? {
                    None => Ok(List(Vec::new())),
                    Some(_) => Err(Error::custom("an object is no list")),
                }
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
