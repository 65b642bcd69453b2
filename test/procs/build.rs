fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile(&["proto/burner.proto", "proto/echo.proto", "proto/pacer.proto"], &["proto"])
}
