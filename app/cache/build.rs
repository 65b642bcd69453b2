//! Generates the service of a shard from its .proto.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile(&["cache.proto"], &["proto"])
}
