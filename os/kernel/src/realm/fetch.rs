//! Programs that are run from where they are, rather than from `/bin`.

use super::proxies::Proxy;
use super::{Tenant, layout};
use crate::binary::{Binary, WHOLE};
use crate::dial;
use crate::kernel::Kernel;
use crate::session::operator_caller;
use sigma_abi::{Code, Error, Path, Result, proto};
use sigmaos::rpc::Device;
use sigmaos::stub::NamespaceClient;
use std::sync::Arc;

impl Tenant {
    /// The kernel's own connection to the realm's files on this machine.
    pub(super) async fn files(&self, kernel: &Arc<Kernel>) -> Result<Device> {
        let caller = operator_caller(kernel, Some(&self.name));
        let socket = dial::introduce(&self.proxy(kernel, Proxy::Ux)?.door().await?, &Path::root(), &caller)?;
        layout::connect(socket)
    }

    /// Reads a program through the proxy that serves it, and has it run from a copy that nobody names.
    pub(super) async fn fetch(&self, kernel: &Arc<Kernel>, path: &Path) -> Result<Binary> {
        let resolved = self.resolve(path).await?;
        let (mount, rest) = (Path::parse(&resolved.mount)?, resolved.rest);
        if Self::proxy_at(kernel, &mount) != Some(Proxy::Ux) {
            return Err(Error::new(Code::Unsupported, "programs are run from /bin and /ux"));
        }
        let files = NamespaceClient(self.files(kernel).await?);
        let open = proto::OpenRequest { path: rest, read: true, ..Default::default() };
        let opened = files.open(open).await?;
        let mut upload = self.binaries.upload(path.name().unwrap_or("program"))?;
        let mut offset = 0;
        loop {
            let request = proto::ReadRequest { handle: opened.handle, offset, length: WHOLE as u32 };
            let piece = files.read_with(request, sigmaos::rpc::Bytes::new()).await?.payload;
            if piece.is_empty() {
                return self.binaries.unnamed(upload);
            }
            upload.write(offset, &piece)?;
            offset += piece.len() as u64;
        }
    }
}
