//! Generates the stubs of the system's own services from sigma-abi's .proto files.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile_system(
        &["fs.proto", "proc.proto", "kernel.proto", "mongo.proto", "db.proto"],
        Path::new("../abi/proto"),
    )
}
