fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile(&["proto/echo.proto"], &["proto"])
}
