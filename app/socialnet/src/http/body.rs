//! Requests: bodies of a bounded length, forms, JSON and multipart.

use crate::limits::{MAX_DRAINED, MAX_FORM};
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{Uri, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use sigmaos::{Code, Error, Result};
use std::collections::HashMap;

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::Invalid, text)
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::TooLarge, format!("the request is too large: its limit is {limit} bytes"))
}

/// The body of a request.
///
/// # Errors
/// `TooLarge` past the limit, when the sender has sent it, or much of it; `Invalid` where it breaks off.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Bytes> {
    let (mut all, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| invalid(format!("the request breaks off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MAX_DRAINED {
            return Err(too_large(limit));
        }
        if length <= limit {
            all.extend_from_slice(&data);
        }
    }
    if length > limit { Err(too_large(limit)) } else { Ok(all.freeze()) }
}

/// The fields of a form, or of a query.
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    /// The fields of a form-encoded body.
    ///
    /// # Errors
    /// As [`read`].
    pub(super) async fn of_body(body: Body) -> Result<Self> {
        Ok(Self::parse(&read(body, MAX_FORM).await?))
    }

    /// The fields of an address.
    pub(super) fn of_query(uri: &Uri) -> Self {
        Self::parse(uri.query().unwrap_or_default().as_bytes())
    }

    fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// A field that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// `Invalid`, naming it.
    pub(super) fn required(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| invalid(format!("Incomplete arguments: {name} is missing")))
    }

    /// A field that is a number.
    ///
    /// # Errors
    /// `Invalid`, naming it.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        let value = self.required(name)?;
        value
            .parse()
            .map_err(|_| invalid(format!("{name} {:?} is no number that is possible here", cut(value))))
    }
}

/// A list of JSON, of strings or numbers, as DeathStarBench's clients send it in a form.
///
/// # Errors
/// `Invalid`, naming the field.
pub(super) fn list(name: &str, text: &str) -> Result<Vec<String>> {
    let wrong = || invalid(format!("{name} {:?} is no JSON list of strings or numbers", cut(text)));
    let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    let text = |value| match value {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => Err(wrong()),
    };
    values.into_iter().map(text).collect()
}

/// Numbers as strings.
///
/// # Errors
/// `Invalid`, naming the field.
pub(super) fn numbers(name: &str, values: &[String]) -> Result<Vec<i64>> {
    let number = |value: &String| {
        let number = value.parse().ok().filter(|number| *number >= 0);
        number.ok_or_else(|| invalid(format!("{name}: {:?} is no id", cut(value))))
    };
    values.iter().map(number).collect()
}

/// A body that is JSON.
///
/// # Errors
/// `Invalid` where it is not what is expected, or says that it is no JSON; as [`read`].
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(invalid("the Content-Type must be application/json"));
    }
    let body = read(request.into_body(), MAX_FORM).await?;
    serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body is not the JSON that is expected: {error}")))
}

/// The parts of a multipart form: its texts, and one file.
pub(super) struct Parts {
    pub(super) texts: HashMap<String, String>,
    pub(super) file: Option<Bytes>,
}

/// Reads a multipart form.
///
/// # Errors
/// `TooLarge` past the limit; `Invalid` where it is none.
pub(super) async fn parts(request: Request, limit: usize) -> Result<Parts> {
    let (head, body) = request.into_parts();
    let body = read(body, limit).await?;
    let request = Request::from_parts(head, Body::from(body));
    let wrong = |error: &dyn std::fmt::Display| invalid(format!("this is no multipart form: {error}"));
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|error| wrong(&error))?;
    let (mut texts, mut file) = (HashMap::new(), None);
    while let Some(field) = multipart.next_field().await.map_err(|error| wrong(&error))? {
        let (name, is_file) = (field.name().unwrap_or_default().to_owned(), field.file_name().is_some());
        let bytes = field.bytes().await.map_err(|error| wrong(&error))?;
        if is_file {
            // A browser sends an empty file where none was chosen.
            file = file.or(Some(bytes).filter(|bytes| !bytes.is_empty()));
        } else {
            let text = String::from_utf8(bytes.into()).map_err(|error| wrong(&error))?;
            texts.insert(name, text);
        }
    }
    Ok(Parts { texts, file })
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart() {
        let fields =
            Fields::parse("text=Привет+%26+%40ada&user_id=7&empty=&start=-1&big=99999999999".as_bytes());
        assert_eq!(fields.get("text"), Some("Привет & @ada"));
        assert_eq!(fields.number::<i64>("user_id").unwrap(), 7);
        assert!(fields.required("empty").unwrap_err().message.contains("empty is missing"));
        assert!(fields.required("none").is_err());
        assert!(fields.number::<u32>("start").unwrap_err().message.contains("start \"-1\""));
        assert!(fields.number::<u32>("big").is_err());
    }

    #[test]
    fn a_json_list_has_strings_or_numbers() {
        assert_eq!(list("ids", r#"["12", 34]"#).unwrap(), ["12", "34"]);
        assert_eq!(list("ids", "[]").unwrap(), [""; 0]);
        for wrong in ["", "[", "{}", "[[]]", "[null]", "\"a\"", "[1] x"] {
            assert!(list("ids", wrong).unwrap_err().message.contains("ids"), "{wrong}");
        }
        assert_eq!(numbers("ids", &["123456789012345678".into()]).unwrap(), [123_456_789_012_345_678]);
        assert!(numbers("ids", &["-1".into()]).is_err());
        assert!(numbers("ids", &["1e3".into()]).is_err());
    }
}
