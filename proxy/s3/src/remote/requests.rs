//! Requests about buckets: signed, bounded, and sent again where that does no harm.

use super::{PAUSES, RETRIES, refused};
use crate::failure::unanswered;
use crate::settings::Endpoint;
use futures_util::StreamExt;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpError, HttpRequest, HttpRequestBody};
use sigmaos::{Code, Error, Result};
use std::fmt::{Display, Write};

/// Bytes of an answer. A listing of a thousand keys of full length has less.
const MAX_ANSWER: usize = 8 << 20;

/// Sends requests to one endpoint.
#[derive(Debug)]
pub(super) struct Requests {
    base: String,
    region: String,
    credential: Option<AwsCredential>,
    http: HttpClient,
}

impl Requests {
    pub(super) fn new(endpoint: &Endpoint, http: HttpClient) -> Self {
        let credential = endpoint.key.as_ref().map(|key| AwsCredential {
            key_id: key.id.clone(),
            secret_key: key.secret.clone(),
            token: None,
        });
        Self { base: endpoint.base().to_owned(), region: endpoint.region.clone(), credential, http }
    }

    /// Sends a request about `what` and gives the body of its answer. What `path` has needs no escape.
    ///
    /// # Errors
    /// What S3 answers, as a code; `Unreachable`.
    pub(super) async fn send(
        &self,
        system: &str,
        what: &(dyn Display + Sync),
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &str,
    ) -> Result<String> {
        let mut pause = PAUSES[0];
        let mut tried = 0;
        loop {
            let answer = match self.attempt(method, path, query, body).await? {
                Ok((status, answer)) if (200..300).contains(&status) => return Ok(answer),
                Ok((status, answer)) if status < 500 && status != 429 => {
                    return Err(refused(system, what, status, &answer));
                }
                other => other,
            };
            if tried == RETRIES {
                return Err(match answer {
                    Ok((status, answer)) => refused(system, what, status, &answer),
                    Err(error) => unanswered(system, what, &error),
                });
            }
            tried += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    async fn attempt(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &str,
    ) -> Result<std::result::Result<(u16, String), HttpError>> {
        let request = self.request(method, path, query, body).ok_or_else(|| {
            Error::new(
                Code::Internal,
                "a request to S3 could not be made: s3.endpoint, s3.region or s3.access-key is no such",
            )
        })?;
        let answer = match self.http.execute(request).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let status = answer.status().as_u16();
        let (mut stream, mut bytes) = (answer.into_body().bytes_stream(), Vec::new());
        while let Some(more) = stream.next().await {
            match more {
                Ok(more) if bytes.len() + more.len() <= MAX_ANSWER => bytes.extend_from_slice(&more),
                Ok(_) => return Err(Error::new(Code::TooLarge, "S3 answers more than a listing can have")),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok((status, String::from_utf8_lossy(&bytes).into_owned())))
    }

    fn request(&self, method: &str, path: &str, query: &[(&str, &str)], body: &str) -> Option<HttpRequest> {
        let mut address = format!("{}{path}", self.base);
        for (index, (key, value)) in query.iter().enumerate() {
            address.push(if index == 0 { '?' } else { '&' });
            address.extend([key, "=", &encoded(value)]);
        }
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.method_mut() = method.parse().ok()?;
        *request.uri_mut() = address.parse().ok()?;
        if let Some(credential) = &self.credential {
            AwsAuthorizer::new(credential, "s3", &self.region).try_authorize(&mut request, None).ok()?;
        }
        Some(request)
    }
}

/// As S3 signs it: all but letters, digits and four signs is escaped.
fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_s3_signs_them() {
        assert_eq!(encoded("a b/ü~-._+&"), "a%20b%2F%C3%BC~-._%2B%26");
    }
}
