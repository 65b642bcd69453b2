fn main() -> Result<(), Box<dyn std::error::Error>> {
    sigma_rpcgen::compile(&["procs/proto/echo.proto"], &["procs/proto"])
}
