//! Media: stores and reads pictures.

use super::{invalid, serve as run, too_large};
use crate::limits::{MAX_MEDIA, MAX_PICTURE};
use crate::proto::{Attachment, Attachments, DescribeRequest, Media, MediaId, MediaServer};
use serde::{Deserialize, Serialize};
use sigmaos::mongo::bson::spec::BinarySubtype;
use sigmaos::mongo::{Collection, Mongo, bson::Binary, doc};
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::{Code, Error, Result, Sigma};
use std::sync::Arc;

/// Where it is served.
pub const NAME: &str = "media";

/// Whether a file begins as one of a type does.
type Begins = fn(&[u8]) -> bool;

/// The types that there are.
const TYPES: &[(&str, Begins)] = &[
    ("png", |file| file.starts_with(b"\x89PNG\r\n\x1a\n")),
    ("jpg", |file| file.starts_with(b"\xff\xd8\xff")),
    ("gif", |file| file.starts_with(b"GIF87a") || file.starts_with(b"GIF89a")),
    ("webp", |file| file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP")),
];

struct Pictures {
    pictures: Collection<Stored>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: i64,
    kind: String,
    bytes: Binary,
}

/// Serves until somebody asks this proc to end.
///
/// # Errors
/// As [`Mongo::open`] and [`Sigma::serve_rpc`].
pub async fn serve(sigma: &Sigma) -> Result<()> {
    let pictures = Mongo::open(sigma).await?.collection("media");
    run(sigma, NAME, MediaServer(Arc::new(Pictures { pictures }))).await
}

/// The type of a picture, by how it begins.
fn kind(file: &[u8]) -> Option<&'static str> {
    TYPES.iter().find(|(_, begins)| begins(file)).map(|(name, _)| *name)
}

impl Media for Pictures {
    async fn store(&self, request: Request<MediaId>) -> Result<Response<Attachment>> {
        let (id, file) = (request.message.id, request.payload);
        if file.len() > MAX_PICTURE {
            let text = format!("a picture of {} bytes: the limit is {MAX_PICTURE}", file.len());
            return Err(too_large(text));
        }
        let kind = kind(&file).ok_or_else(|| invalid("this is no PNG, JPEG, GIF or WebP picture"))?;
        let bytes = Binary { subtype: BinarySubtype::Generic, bytes: file.to_vec() };
        match self.pictures.insert_one(&Stored { id, kind: kind.into(), bytes }).await {
            // It was sent again.
            Err(error) if error.code == Code::Exists => {}
            stored => drop(stored?),
        }
        Ok(Attachment { id, r#type: kind.into() }.into())
    }

    async fn read(&self, request: Request<MediaId>) -> Result<Response<Attachment>> {
        let id = request.message.id;
        let found = self.pictures.find_one(doc! { "_id": id }).await?;
        let found = found.ok_or_else(|| Error::new(Code::NotFound, format!("there is no picture {id}")))?;
        let reply = Response::new(Attachment { id, r#type: found.kind });
        Ok(reply.payload(Bytes::from(found.bytes.bytes)))
    }

    async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<Attachments>> {
        let DescribeRequest { ids, types } = request.message;
        if ids.len() != types.len() {
            return Err(invalid(format!("{} media ids and {} media types", ids.len(), types.len())));
        }
        if ids.len() > MAX_MEDIA {
            return Err(invalid(format!("{} pictures: a post has at most {MAX_MEDIA}", ids.len())));
        }
        let known = |name: &str| name == "jpeg" || TYPES.iter().any(|(known, _)| *known == name);
        if let Some(other) = types.iter().find(|name| !known(name)) {
            let other: String = other.chars().take(20).collect();
            return Err(invalid(format!(
                "{other:?} is no media type: there are png, jpg, jpeg, gif and webp"
            )));
        }
        let media = ids.into_iter().zip(types).map(|(id, r#type)| Attachment { id, r#type }).collect();
        Ok(Attachments { media }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn a_picture_is_known_by_how_it_begins() {
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n..."), Some("png"));
        assert_eq!(kind(b"\xff\xd8\xff\xe0"), Some("jpg"));
        assert_eq!(kind(b"RIFF....WEBPVP8 "), Some("webp"));
        assert_eq!(kind(b"<svg onload=alert(1)>"), None);
        assert_eq!(kind(b""), None);
    }
}
