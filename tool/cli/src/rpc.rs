//! Calling any service of the namespace, by the descriptors that its server publishes beside the device.

mod near;
mod request;
mod shape;

use crate::context::Context;
use crate::files::contents_of;
use crate::options::Rpc;
use anyhow::{Context as _, Result};
use near::near;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions, ServiceDescriptor};
use sigmaos::rpc::{Bytes, Device};
use sigmaos::{Code, DESCRIPTOR_SUFFIX, Error, Sigma, proto, stub};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The device that a directory of a service holds by convention.
const DEVICE: &str = "rpc";

/// What every server of a tree answers itself, without a device.
const TREE_SERVICE: &str = "Namespace";

pub(crate) async fn rpc(context: &Context, options: &Rpc) -> Result<()> {
    let sigma = context.sigma().await?;
    let target = Target::find(&sigma, &options.path, options.method.as_deref()).await?;
    let Some(name) = &options.method else { return shape::show(&target.services, context.json) };
    let method = target.method(name)?;
    let twice =
        options.request == "-" && options.payload.as_ref().is_some_and(|file| file.as_os_str() == "-");
    anyhow::ensure!(
        !twice,
        "standard input is either the request or the payload: give one of them as a file"
    );
    let json = match options.request.as_str() {
        "-" => String::from_utf8(contents_of(Path::new("-")).await?).context("the request is not UTF-8")?,
        json => json.to_owned(),
    };
    let message = request::parse(method.input(), &json)?;
    let payload = match &options.payload {
        Some(file) => contents_of(file).await?.into(),
        None => Bytes::new(),
    };
    let wire_name = format!("{}.{}", method.parent_service().name(), method.name());
    let device = target.device.deadline(Some(Duration::from_millis(options.deadline)));
    let reply = device.call_encoded(&wire_name, message.encode_to_vec().into(), payload).await?;
    let answer = DynamicMessage::decode(method.output(), reply.head)
        .with_context(|| format!("the reply to {wire_name} is not what its descriptor says"))?;
    show(context, &answer, &reply.payload, options.output.as_deref())
}

/// What can be called, and what its messages look like.
struct Target {
    path: String,
    device: Device,
    services: Vec<ServiceDescriptor>,
}

impl Target {
    /// The device at a path or `rpc` below it; otherwise the server of the path itself.
    async fn find(sigma: &Sigma, path: &str, method: Option<&str>) -> Result<Self> {
        if sigma.stat(path).await?.kind() == proto::Kind::RpcDevice {
            return Self::device(sigma, path.to_owned()).await;
        }
        let of_tree =
            method.is_some_and(|method| method.split_once('.').is_some_and(|(name, _)| name == TREE_SERVICE));
        let below = format!("{}/{DEVICE}", path.trim_end_matches('/'));
        if !of_tree && is_device(sigma, &below).await? {
            return Self::device(sigma, below).await;
        }
        if !of_tree && method.is_some() {
            let text = format!("{path} is not an rpc device, and holds none named {DEVICE:?}");
            return Err(Error::new(Code::Invalid, text).into());
        }
        let pool = DescriptorPool::decode(stub::DESCRIPTORS).context("the descriptors of the system")?;
        let services = pool.services().filter(|service| service.name() == TREE_SERVICE).collect();
        Ok(Self { path: path.to_owned(), device: sigma.server(path).await?, services })
    }

    async fn device(sigma: &Sigma, path: String) -> Result<Self> {
        let file = format!("{path}{DESCRIPTOR_SUFFIX}");
        let descriptors = sigma.get_file(&file).await.map_err(|error| match error.code {
            Code::NotFound => {
                let text = format!("{path} does not say what it can be asked: there is no {file}");
                Error::new(Code::NotFound, text)
            }
            _ => error,
        })?;
        let pool =
            DescriptorPool::decode(descriptors).with_context(|| format!("{file} holds no descriptors"))?;
        let device = sigma.open_rpc(&path).await?;
        Ok(Self { path, device, services: pool.services().collect() })
    }

    /// A method by `Service.Method`; the package may stand before it.
    fn method(&self, name: &str) -> Result<MethodDescriptor> {
        let mut methods = self.services.iter().flat_map(ServiceDescriptor::methods);
        if let Some(found) = methods.find(|method| method.full_name() == name || short_name(method) == name) {
            return Ok(found);
        }
        let names: Vec<_> = self
            .services
            .iter()
            .flat_map(ServiceDescriptor::methods)
            .map(|method| short_name(&method))
            .collect();
        let meant = match near(name, &names) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("'sigma rpc {}' lists what it has", self.path),
        };
        let text = format!("{} has no method {name}: {meant}", self.path);
        Err(Error::new(Code::NotFound, text).into())
    }
}

/// `Service.Method`, as the wire has it.
fn short_name(method: &MethodDescriptor) -> String {
    format!("{}.{}", method.parent_service().name(), method.name())
}

async fn is_device(sigma: &Sigma, path: &str) -> Result<bool> {
    match sigma.stat(path).await {
        Ok(stat) => Ok(stat.kind() == proto::Kind::RpcDevice),
        Err(error) if matches!(error.code, Code::NotFound | Code::NotDir) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The message goes to standard output, unless the payload is wanted there.
fn show(context: &Context, answer: &DynamicMessage, payload: &Bytes, output: Option<&Path>) -> Result<()> {
    let mut text = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(false);
    if context.json {
        answer.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)?;
    } else {
        answer.serialize_with_options(&mut serde_json::Serializer::pretty(&mut text), &options)?;
    }
    let text = String::from_utf8(text).context("JSON is UTF-8")?;
    match output {
        Some(file) if file.as_os_str() == "-" => {
            anstream::eprintln!("{text}");
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(payload).and_then(|()| stdout.flush()).context("write standard output")?;
        }
        Some(file) => {
            std::fs::write(file, payload).with_context(|| format!("write {}", file.display()))?;
            anstream::println!("{text}");
        }
        None => {
            anstream::println!("{text}");
            if !payload.is_empty() {
                let length = payload.len();
                anstream::eprintln!("{length} bytes came beside the message: --output FILE keeps them");
            }
        }
    }
    Ok(())
}
