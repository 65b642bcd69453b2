//! Generates the services from their .proto files.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let services = ["user", "graph", "post", "timeline", "home", "url", "media", "text", "compose"];
    let files: Vec<_> = services.iter().map(|service| format!("{service}.proto")).collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    sigma_rpcgen::compile(&files, &["proto"])
}
