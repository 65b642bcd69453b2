//! `/bin` as a tree: reading a program, and uploading one by writing it.

use crate::binary::{Binaries, Binary, Upload, WHOLE, name_in_bin, stat};
use sigma_abi::limits::DIR_PAGE;
use sigma_abi::{Code, Error, Path, Result, proto};
use sigmaos::rpc::{Bytes, Request, Response};
use sigmaos::serve::{Accept, Handles, Services, refuse_fences};
use sigmaos::stub::{Namespace, NamespaceServer};
use sigmaos::wire::Session;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// The server of `/bin` of one realm.
pub(crate) struct BinTree(pub(crate) Arc<Binaries>);

impl Accept for BinTree {
    fn accept(&self, caller: Arc<proto::Caller>) -> Arc<dyn Session> {
        let session = BinSession { binaries: Arc::clone(&self.0), open: Handles::default() };
        Arc::new(Services::new(caller, vec![Box::new(NamespaceServer(Arc::new(session)))]))
    }
}

struct BinSession {
    binaries: Arc<Binaries>,
    open: Handles<Open>,
}

enum Open {
    Reading(Binary),
    Writing(Mutex<Option<Upload>>),
}

impl BinSession {
    fn named(&self, path: &str) -> Result<(String, Binary)> {
        let name = name_in_bin(&Path::parse(path)?)?;
        let binary = self.binaries.find(&name)?;
        Ok((name, binary))
    }
}

impl Namespace for BinSession {
    async fn get(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        let (name, binary) = self.named(&request.message.path)?;
        if binary.size > WHOLE {
            return Err(Error::new(
                Code::TooLarge,
                format!("{name} has {} bytes: read it in pieces", binary.size),
            ));
        }
        Ok(Response::new(stat(&name, binary.size)).payload(read(&binary, 0, binary.size as usize)?))
    }

    async fn put(&self, request: Request<proto::PutRequest>) -> Result<Response<proto::Stat>> {
        refuse_fences(&request.message.fences)?;
        let name = name_in_bin(&Path::parse(&request.message.path)?)?;
        stays(&name, request.message.ephemeral)?;
        if request.message.exclusive && self.binaries.entry(&name).is_ok() {
            return Err(Error::new(Code::Exists, format!("/bin/{name} exists")));
        }
        let mut upload = self.binaries.upload(&name)?;
        upload.write(0, &request.payload)?;
        Ok(stat(&name, self.binaries.commit(upload)?.size).into())
    }

    async fn stat(&self, request: Request<proto::PathRequest>) -> Result<Response<proto::Stat>> {
        if Path::parse(&request.message.path)?.is_root() {
            return Ok(
                proto::Stat { kind: proto::Kind::Directory.into(), perm: 0o66, ..Default::default() }.into()
            );
        }
        let name = name_in_bin(&Path::parse(&request.message.path)?)?;
        Ok(stat(&name, self.binaries.entry(&name)?.size).into())
    }

    async fn open(&self, request: Request<proto::OpenRequest>) -> Result<Response<proto::Opened>> {
        let proto::OpenRequest { path, write, create, truncate, ephemeral, fences, .. } = request.message;
        refuse_fences(&fences)?;
        let name = name_in_bin(&Path::parse(&path)?)?;
        stays(&name, ephemeral)?;
        if !write {
            let binary = self.binaries.find(&name)?;
            let stat = stat(&name, binary.size);
            let handle = self.open.insert(Open::Reading(binary))?;
            return Ok(proto::Opened { handle, stat: Some(stat) }.into());
        }
        if !(create && truncate) {
            return Err(Error::new(
                Code::Unsupported,
                "a program is replaced as a whole: open it to create and truncate",
            ));
        }
        let upload = self.binaries.upload(&name)?;
        let handle = self.open.insert(Open::Writing(Mutex::new(Some(upload))))?;
        Ok(proto::Opened { handle, stat: Some(proto::Stat { name, ..Default::default() }) }.into())
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Result<Response<proto::Empty>> {
        let proto::ReadRequest { handle, offset, length } = request.message;
        match &*self.open.get(handle)? {
            Open::Reading(binary) => {
                let length = u64::from(length).min(WHOLE).min(binary.size.saturating_sub(offset));
                Ok(Response::new(proto::Empty {}).payload(read(binary, offset, length as usize)?))
            }
            Open::Writing(_) => Err(Error::new(Code::Denied, "this program is open for writing")),
        }
    }

    async fn write(&self, request: Request<proto::WriteRequest>) -> Result<Response<proto::Written>> {
        let proto::WriteRequest { handle, offset, fences, .. } = request.message;
        refuse_fences(&fences)?;
        match &*self.open.get(handle)? {
            Open::Writing(upload) => {
                let mut upload = upload.lock().unwrap_or_else(PoisonError::into_inner);
                let upload =
                    upload.as_mut().ok_or_else(|| Error::new(Code::Closed, "this upload is closed"))?;
                upload.write(offset, &request.payload)?;
                Ok(proto::Written { length: request.payload.len() as u32 }.into())
            }
            Open::Reading(_) => Err(Error::new(Code::Denied, "this program is open for reading")),
        }
    }

    async fn close(&self, request: Request<proto::CloseRequest>) -> Result<Response<proto::Empty>> {
        let proto::CloseRequest { handle, discard } = request.message;
        if let Open::Writing(upload) = &*self.open.remove(handle)?
            && !discard
        {
            let upload = upload.lock().unwrap_or_else(PoisonError::into_inner).take();
            upload.map(|upload| self.binaries.commit(upload)).transpose()?;
        }
        Ok(proto::Empty {}.into())
    }

    async fn remove(&self, request: Request<proto::RemoveRequest>) -> Result<Response<proto::Empty>> {
        refuse_fences(&request.message.fences)?;
        self.binaries.remove(&name_in_bin(&Path::parse(&request.message.path)?)?)?;
        Ok(proto::Empty {}.into())
    }

    async fn read_dir(&self, request: Request<proto::ReadDirRequest>) -> Result<Response<proto::DirPage>> {
        let proto::ReadDirRequest { path, after, limit } = request.message;
        let path = Path::parse(&path)?;
        if !path.is_root() {
            return Err(Error::new(Code::NotDir, format!("/bin{path} is not a directory")));
        }
        let limit = if limit == 0 { DIR_PAGE } else { DIR_PAGE.min(limit as usize) };
        Ok(self.binaries.list(&after, limit).into())
    }
}

/// Whoever asks for an entry that ends with its proc must not get one that stays.
fn stays(name: &str, ephemeral: bool) -> Result<()> {
    match ephemeral {
        false => Ok(()),
        true => Err(Error::new(Code::Unsupported, format!("/bin/{name}: programs end with no proc"))),
    }
}

fn read(binary: &Binary, offset: u64, length: usize) -> Result<Bytes> {
    let mut bytes = vec![0; length];
    binary
        .file
        .read_exact_at(&mut bytes, offset)
        .map_err(|error| Error::new(Code::Internal, format!("cannot read a program: {error}")))?;
    Ok(bytes.into())
}
