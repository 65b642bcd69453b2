//! Dialling, for whoever is at a door.

use crate::dial;
use crate::kernel::Kernel;
use crate::session::Client;
use sigma_abi::{Path, Result, proto};
use sigmaos::rpc::{Request, Response};
use sigmaos::stub::Link;
use std::sync::Arc;

pub(crate) struct Links {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) client: Client,
}

impl Link for Links {
    async fn dial(&self, request: Request<proto::DialRequest>) -> Result<Response<proto::DialReply>> {
        let path = Path::parse(&request.message.path)?;
        let dialled = dial::dial(&self.kernel, &self.client, &path)
            .await
            .map_err(|error| error.context(format!("dial {path}")))?;
        let reply = proto::DialReply { mount: dialled.mount, rest: dialled.rest };
        Ok(Response::new(reply).fd(dialled.socket))
    }
}
