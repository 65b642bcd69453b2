//! Build-time code: the services of a `.proto` become a trait to implement, a server and a typed client.
//!
//! A proc's `build.rs` calls [`compile`]; the proc includes the result with `sigmaos::include_proto!("package")`.
//! No protoc is needed. A service is defined once, in the `.proto`; its two sides cannot disagree. A server carries its
//! service's descriptors, so that tools can call it that have never seen the `.proto`.

mod descriptor;

use prost_build::{Config, Method, Service, ServiceGenerator};
use protox::prost::Message;
use protox::prost_reflect::prost_types::FileDescriptorSet;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// The package of what every server speaks; its services are not devices that somebody opens.
const SYSTEM: &str = "sigma";

/// Compiles `protos`, found below `includes`, into `OUT_DIR`, and tells cargo to watch them.
///
/// # Errors
/// What protox or prost-build say: a file that is missing, or a line that is not protobuf.
pub fn compile(protos: &[&str], includes: &[&str]) -> Result<(), Box<dyn Error>> {
    for include in includes {
        println!("cargo:rerun-if-changed={include}");
    }
    let mut config = Config::new();
    config.bytes(["."]);
    let set = protox::compile(protos, includes)?;
    config.service_generator(Box::new(Stubs { runtime: "::sigmaos::rpc", published: Some(set.clone()) }));
    config.compile_fds(set)?;
    Ok(())
}

/// As [`compile`], for the SDK itself: only the services, whose messages sigma-abi already has. The servers of [`SYSTEM`] carry no
/// descriptors; those of all go to `OUT_DIR/sigma.descriptor`, once.
///
/// # Errors
/// As [`compile`].
pub fn compile_system(protos: &[&str], include: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", include.display());
    let mut config = Config::new();
    config.extern_path(".sigma", "::sigma_abi::proto");
    let set = protox::compile(protos, [include])?;
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("sigma.descriptor"), descriptor::stripped(&set).encode_to_vec())?;
    config.service_generator(Box::new(Stubs { runtime: "crate::rpc", published: Some(set.clone()) }));
    config.compile_fds(set)?;
    Ok(())
}

struct Stubs {
    /// Where the generated code finds the SDK's types.
    runtime: &'static str,
    /// What the servers carry a part of, if they carry any.
    published: Option<FileDescriptorSet>,
}

impl ServiceGenerator for Stubs {
    fn generate(&mut self, service: Service, out: &mut String) {
        self.write(&service, out).expect("writing to a string cannot fail");
    }
}

impl Stubs {
    fn write(&self, service: &Service, out: &mut String) -> std::fmt::Result {
        self.write_trait(service, out)?;
        self.write_server(service, out)?;
        self.write_client(service, out)
    }

    fn write_trait(&self, service: &Service, out: &mut String) -> std::fmt::Result {
        let (name, rt) = (&service.name, self.runtime);
        write_docs(&service.comments.leading, "", out)?;
        writeln!(out, "///\n/// A method that is not implemented answers `Unsupported`.")?;
        writeln!(out, "pub trait {name}: Send + Sync + 'static {{")?;
        for method in &service.methods {
            let Method { name: function, input_type, output_type, .. } = method;
            write_docs(&method.comments.leading, "    ", out)?;
            writeln!(out, "    fn {function}(&self, request: {rt}::Request<{input_type}>)")?;
            writeln!(
                out,
                "    -> impl Future<Output = {rt}::Result<{rt}::Response<{output_type}>>> + Send {{"
            )?;
            writeln!(out, "        drop(request);")?;
            writeln!(
                out,
                "        std::future::ready(Err({rt}::unsupported(\"{}\")))",
                full(service, method)
            )?;
            writeln!(out, "    }}")?;
        }
        writeln!(out, "}}\n")
    }

    fn write_server(&self, service: &Service, out: &mut String) -> std::fmt::Result {
        let (name, rt) = (&service.name, self.runtime);
        writeln!(out, "/// Serves a [`{name}`]: decodes calls and encodes their replies.")?;
        writeln!(out, "pub struct {name}Server<T>(pub std::sync::Arc<T>);\n")?;
        writeln!(out, "impl<T: {name}> {rt}::Service for {name}Server<T> {{")?;
        writeln!(out, "    fn name(&self) -> &'static str {{\n        \"{}\"\n    }}\n", service.proto_name)?;
        if let Some(set) = self.published.as_ref().filter(|_| service.package != SYSTEM) {
            let file = descriptor::write(set, &service.package, &service.proto_name)
                .expect("build scripts may write to OUT_DIR");
            writeln!(out, "    fn descriptor(&self) -> &'static [u8] {{")?;
            writeln!(out, "        include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))\n    }}\n")?;
        }
        writeln!(out, "    fn call(&self, call: {rt}::Call) -> {rt}::Answer {{")?;
        writeln!(out, "        let service = std::sync::Arc::clone(&self.0);")?;
        writeln!(out, "        match call.method() {{")?;
        for method in &service.methods {
            writeln!(
                out,
                "            \"{}\" => Box::pin(async move {{ service.{}(call.request()?).await.map({rt}::Response::encode) }}),",
                full(service, method),
                method.name
            )?;
        }
        writeln!(out, "            _ => {rt}::unknown_method(&call),")?;
        writeln!(out, "        }}\n    }}\n}}\n")
    }

    fn write_client(&self, service: &Service, out: &mut String) -> std::fmt::Result {
        let (name, rt) = (&service.name, self.runtime);
        writeln!(out, "/// Calls a [`{name}`] by its typed methods. Cheap to clone.")?;
        writeln!(out, "#[derive(Clone, Debug)]\npub struct {name}Client(pub {rt}::Device);\n")?;
        writeln!(out, "impl From<{rt}::Device> for {name}Client {{")?;
        writeln!(out, "    fn from(device: {rt}::Device) -> Self {{\n        Self(device)\n    }}\n}}\n")?;
        writeln!(out, "// A caller needs some of the methods, and rarely all.")?;
        writeln!(out, "#[allow(dead_code)]\nimpl {name}Client {{")?;
        for method in &service.methods {
            let Method { name: function, input_type, output_type, .. } = method;
            write_docs(&method.comments.leading, "    ", out)?;
            writeln!(
                out,
                "    pub async fn {function}(&self, request: {input_type}) -> {rt}::Result<{output_type}> {{"
            )?;
            writeln!(
                out,
                "        Ok(self.0.call(\"{}\", &request, {rt}::Bytes::new()).await?.message)\n    }}",
                full(service, method)
            )?;
            writeln!(out, "    /// As [`Self::{function}`], with raw bytes beside the message, both ways.")?;
            writeln!(
                out,
                "    pub async fn {function}_with(&self, request: {input_type}, payload: {rt}::Bytes)"
            )?;
            writeln!(out, "    -> {rt}::Result<{rt}::Response<{output_type}>> {{")?;
            writeln!(
                out,
                "        self.0.call(\"{}\", &request, payload).await\n    }}",
                full(service, method)
            )?;
        }
        writeln!(out, "}}\n")
    }
}

fn full(service: &Service, method: &Method) -> String {
    format!("{}.{}", service.proto_name, method.proto_name)
}

fn write_docs(lines: &[String], indent: &str, out: &mut String) -> std::fmt::Result {
    if lines.is_empty() {
        return writeln!(out, "{indent}/// As the .proto defines it.");
    }
    lines.iter().try_for_each(|line| writeln!(out, "{indent}///{}", line.trim_end()))
}
