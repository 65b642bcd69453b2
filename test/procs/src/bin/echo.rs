//! An SDK proc on either side of a call: `echo serve PATH` serves until it is asked to end, and then ends with `Ok`;
//! `echo call PATH TEXT` prints the answer, `echo who PATH` who the server takes it for.

use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Error, Result, Sigma};
use std::process::ExitCode;
use std::sync::Arc;

mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub, dead_code)]
    sigmaos::include_proto!("echo");
}
use stub::{Echo, EchoClient, EchoServer, Text};

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match args[..] {
            ["serve", path] => serve(&sigma, path).await,
            ["call", path, text] => {
                let echo: EchoClient = sigma.client(&format!("{path}/rpc")).await?;
                sigma.started().await?;
                println!("{}", echo.say(Text { text: text.to_owned() }).await?.text);
                Ok(())
            }
            ["who", path] => {
                let echo: EchoClient = sigma.client(&format!("{path}/rpc")).await?;
                println!("{}", echo.who(Text::default()).await?.text);
                Ok(())
            }
            _ => {
                Err(Error::new(Code::Invalid, "usage: echo serve PATH | echo call PATH TEXT | echo who PATH"))
            }
        }
    })
}

async fn serve(sigma: &Sigma, path: &str) -> Result<()> {
    sigma.serve_rpc(path, EchoServer(Arc::new(Voice))).await?;
    sigma.started().await?;
    sigma.wait_kill().await
}

struct Voice;

impl Echo for Voice {
    async fn say(&self, request: Request<Text>) -> Result<Response<Text>> {
        Ok(Response::new(request.message).payload(request.payload))
    }

    async fn who(&self, request: Request<Text>) -> Result<Response<Text>> {
        let caller = &request.caller;
        let class = caller.class().as_str_name();
        let text = format!("{} {} {} {class}", caller.realm, caller.principal, caller.pid);
        Ok(Text { text }.into())
    }

    async fn hang(&self, _: Request<Text>) -> Result<Response<Text>> {
        std::future::pending().await
    }
}
