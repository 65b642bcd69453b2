//! An SDK proc on either side of a call: `echo serve PATH [IN-FLIGHT]` serves until it is asked to end, and then ends with
//! `Ok`; `echo poll PATH BUSY` does so polling for BUSY microseconds after each frame; `echo call PATH TEXT` prints the answer, `echo hang PATH` waits for one that never comes, `echo who PATH` prints
//! who the server takes it for.

use sigmaos::limits::MAX_SERVER_IN_FLIGHT;
use sigmaos::rpc::{Request, Response};
use sigmaos::{Code, Error, Export, Result, Sigma};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

mod stub {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub, dead_code)]
    sigmaos::include_proto!("echo");
}
use stub::{Count, Echo, EchoClient, EchoServer, Text};

fn main() -> ExitCode {
    sigmaos::main(async |sigma| {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match args[..] {
            ["serve", path] => serve(&sigma, path, MAX_SERVER_IN_FLIGHT).await,
            ["serve", path, in_flight] => {
                let in_flight =
                    in_flight.parse().map_err(|_| Error::new(Code::Invalid, "IN-FLIGHT is a number"))?;
                serve(&sigma, path, in_flight).await
            }
            ["poll", path, busy] => {
                let busy = busy.parse().map_err(|_| Error::new(Code::Invalid, "BUSY is a number"))?;
                sigma.busy_poll(Duration::from_micros(busy));
                serve(&sigma, path, MAX_SERVER_IN_FLIGHT).await
            }
            ["call", path, text] => {
                let echo: EchoClient = sigma.client(&format!("{path}/rpc")).await?;
                sigma.started().await?;
                println!("{}", echo.say(Text { text: text.to_owned() }).await?.text);
                Ok(())
            }
            ["hang", path] => {
                let echo: EchoClient = sigma.client(&format!("{path}/rpc")).await?;
                echo.hang(Text::default()).await.map(drop)
            }
            ["who", path] => {
                let echo: EchoClient = sigma.client(&format!("{path}/rpc")).await?;
                println!("{}", echo.who(Text::default()).await?.text);
                Ok(())
            }
            _ => Err(Error::new(
                Code::Invalid,
                "usage: echo serve PATH [IN-FLIGHT] | echo poll PATH BUSY | echo call PATH TEXT | echo hang PATH | echo who PATH",
            )),
        }
    })
}

async fn serve(sigma: &Sigma, path: &str, in_flight: usize) -> Result<()> {
    let voice = EchoServer(Arc::new(Voice::default()));
    sigma.mount(path, Export::new().device("rpc", voice)?.in_flight(in_flight)).await?;
    sigma.started().await?;
    sigma.wait_kill().await
}

#[derive(Default)]
struct Voice {
    /// Calls that are worked on.
    working: watch::Sender<u32>,
    released: watch::Sender<BTreeSet<String>>,
}

/// A call that is worked on, until it is answered or dropped.
struct Work<'a>(&'a watch::Sender<u32>);

impl<'a> Work<'a> {
    fn begin(working: &'a watch::Sender<u32>) -> Self {
        working.send_modify(|calls| *calls += 1);
        Self(working)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

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
        let _work = Work::begin(&self.working);
        std::future::pending().await
    }

    async fn wait(&self, request: Request<Text>) -> Result<Response<Text>> {
        let _work = Work::begin(&self.working);
        // It lives as long as the service, so it cannot be closed.
        let _ = self.released.subscribe().wait_for(|texts| texts.contains(&request.message.text)).await;
        Ok(request.message.into())
    }

    async fn release(&self, request: Request<Text>) -> Result<Response<Text>> {
        self.released.send_if_modified(|texts| texts.insert(request.message.text.clone()));
        Ok(request.message.into())
    }

    async fn working(&self, request: Request<Count>) -> Result<Response<Count>> {
        let _ = self.working.subscribe().wait_for(|calls| *calls == request.message.count).await;
        Ok(request.message.into())
    }
}
