//! A first proc: it reads an entry of its namespace, says that it has started, prints, and ends.

use std::process::ExitCode;

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let me = sigma.me().await?;
        let top = sigma.read_dir("/").await?;
        sigma.started().await?;
        let names: Vec<_> = top.iter().map(|entry| entry.name.as_str()).collect();
        println!("hello from {} in realm {}", me.pid, me.realm);
        println!("/ holds {}", names.join(", "));
        sigmaos::Result::Ok(())
    })
}
