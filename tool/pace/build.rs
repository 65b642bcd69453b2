//! Generates the interface of a pacer from its .proto.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile(&["pacer.proto"], &["proto"])
}
