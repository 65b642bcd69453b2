//! What S3 answers about buckets, out of its XML. Pure.

use crate::page::{Entry, Meta};
use object_store::ObjectMeta;
use object_store::path::Path as Key;
use quick_xml::de::from_str;
use serde::Deserialize;

/// A page of keys, in the order of S3.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    #[serde(default)]
    contents: Vec<Object>,
    #[serde(default)]
    common_prefixes: Vec<Prefix>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    last_modified: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    prefix: String,
}

impl Listing {
    pub(super) fn parse(answer: &str) -> Option<Self> {
        from_str(answer).ok()
    }

    /// What is in the directory `prefix`, itself left out.
    pub(super) fn entries(&self, prefix: &str) -> impl Iterator<Item = Entry> {
        let objects = self.contents.iter().filter_map(move |object| {
            let name = object.key.strip_prefix(prefix)?.to_owned();
            let meta = Meta { size: object.size, modified_ms: milliseconds(&object.last_modified) };
            Some(Entry { name, object: Some(meta) })
        });
        let directories = self.common_prefixes.iter().filter_map(move |found| {
            let name = found.prefix.strip_prefix(prefix)?.strip_suffix('/')?.to_owned();
            Some(Entry { name, object: None })
        });
        objects.chain(directories)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.common_prefixes.is_empty()
    }

    /// With what the listing goes on.
    pub(super) fn next(self) -> Option<String> {
        self.next_continuation_token.filter(|token| self.is_truncated && !token.is_empty())
    }
}

/// The names of all buckets.
pub(super) fn buckets(answer: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct All {
        #[serde(default)]
        buckets: Buckets,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Buckets {
        #[serde(default)]
        bucket: Vec<Named>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        name: String,
    }
    let all: All = from_str(answer).ok()?;
    Some(all.buckets.bucket.into_iter().map(|bucket| bucket.name).collect())
}

/// The body of a request that makes a bucket: where it shall be, which S3 wants to hear of all regions but the first.
pub(super) fn location(region: &str) -> String {
    match region {
        "us-east-1" => String::new(),
        _ => format!(
            "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
            quick_xml::escape::escape(region)
        ),
    }
}

/// A time as S3 writes it, in milliseconds since 1970; 0 for what is none.
fn milliseconds(time: &str) -> u64 {
    // The library parses times for its own type of them.
    let at = |time: &str| {
        let last_modified = time.parse().ok()?;
        Some(ObjectMeta { location: Key::ROOT, last_modified, size: 0, e_tag: None, version: None })
    };
    at(time).map_or(0, |meta| u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_keys_that_no_path_can_say() {
        let listing = Listing::parse(
            r#"<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
            <Contents><Key>p/a &amp; b</Key><LastModified>2024-05-06T07:08:09.123Z</LastModified><Size>7</Size></Contents>
            <CommonPrefixes><Prefix>p//</Prefix></CommonPrefixes>
            <Contents><Key>p/</Key><Size>0</Size></Contents>
            <CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes>
            <IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"#,
        )
        .unwrap();
        let entries: Vec<_> = listing.entries("p/").collect();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a & b", "", "", "d"]);
        assert_eq!(entries[0].object, Some(Meta { size: 7, modified_ms: 1_714_979_289_123 }));
        assert_eq!((listing.is_empty(), listing.next().as_deref()), (false, Some("t")));
        assert!(Listing::parse("<html>").is_none());
    }

    #[test]
    fn buckets_are_read_many_one_and_none() {
        let all = |inner: &str| {
            buckets(&format!(
                "<ListAllMyBucketsResult><Owner><ID>x</ID></Owner>{inner}</ListAllMyBucketsResult>"
            ))
        };
        assert_eq!(
            all("<Buckets><Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket></Buckets>").unwrap(),
            ["a", "b"]
        );
        assert_eq!(all("<Buckets><Bucket><Name>a</Name></Bucket></Buckets>").unwrap(), ["a"]);
        assert!(all("<Buckets/>").unwrap().is_empty() && all("").unwrap().is_empty());
    }

    #[test]
    fn a_region_is_told_as_text() {
        assert_eq!(location("us-east-1"), "");
        assert!(location("a<b").contains(">a&lt;b<"));
    }
}
