//! `sigma bench s3`: the server that the flags name, or one of the test servers.

use super::beside;
use crate::context::Context;
use crate::options;
use anyhow::{Context as _, Result, bail};
use sigma_bench::report::Report;
use sigma_bench::s3::{self, Endpoint, Job, Server};
use sigmaos::proto;

/// Names the program of a SeaweedFS, as `cargo xtask servers` says.
const WEED: &str = "SIGMA_TEST_WEED";

pub(super) async fn s3(context: &Context, options: &options::S3) -> Result<Report> {
    let kernel = context.kernel()?.kernel_status(proto::Empty {}).await?;
    let (bucket, count) = (options.bucket.clone(), options.count);
    let job = Job { peer: beside("peer")?, server: server(options)?, bucket, count };
    s3::run(&kernel, &job).await
}

fn server(options: &options::S3) -> Result<Server> {
    if let (Some(url), Some(key), Some(secret)) =
        (&options.endpoint, &options.access_key, &options.secret_file)
    {
        let secret = std::fs::read_to_string(secret).with_context(|| format!("read {}", secret.display()))?;
        return Ok(Server::At(Endpoint {
            url: url.clone(),
            region: options.region.clone(),
            access_key: key.clone(),
            secret_key: secret.trim_end().to_owned(),
        }));
    }
    match std::env::var_os(WEED).filter(|program| !program.is_empty()) {
        Some(program) => Ok(Server::Weed(program.into())),
        None => bail!(
            "there is no S3 server to measure: give --endpoint, --access-key and --secret-file, or run: eval \"$(cargo xtask servers)\""
        ),
    }
}
