//! Compiles the .proto files to Rust messages, without protoc.

use std::error::Error;

const PROTOS: [&str; 7] = [
    "proto/wire.proto",
    "proto/fs.proto",
    "proto/proc.proto",
    "proto/kernel.proto",
    "proto/jail.proto",
    "proto/mongo.proto",
    "proto/db.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
