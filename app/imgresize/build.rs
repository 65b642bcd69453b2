//! Generates the service of imgresize from its .proto.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile(&["imgresize.proto"], &["proto"])
}
