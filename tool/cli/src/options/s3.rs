//! `sigma bench s3`.

use super::parse_count;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct S3 {
    /// An S3 server that runs, http://HOST:PORT; without it the SeaweedFS that SIGMA_TEST_WEED names is started for this
    #[arg(long, value_name = "URL", requires = "access_key")]
    pub(crate) endpoint: Option<String>,

    /// With --endpoint: its region
    #[arg(long, default_value = "us-east-1", value_name = "NAME")]
    pub(crate) region: String,

    /// With --endpoint: the access key
    #[arg(long, value_name = "KEY", requires = "secret_file")]
    pub(crate) access_key: Option<String>,

    /// With --endpoint: the file with the secret of that key
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub(crate) secret_file: Option<PathBuf>,

    /// The bucket; it is made where it is missing, and then removed
    #[arg(long, default_value = "sigma-bench", value_name = "NAME")]
    pub(crate) bucket: String,

    /// Objects of 1 KiB to read and to write, one after the other; a hundredth as many of 64 MiB
    #[arg(long, default_value_t = 2000, value_parser = parse_count)]
    pub(crate) count: usize,

    /// Exit with 1 when a promise is not kept
    #[arg(long)]
    pub(crate) check: bool,
}
