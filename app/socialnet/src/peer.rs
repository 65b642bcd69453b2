//! Another service, found by its path: the connection is made again when its proc was.

use crate::limits::{AGAIN_FOR, CALL_DEADLINE};
use sigmaos::rpc::Device;
use sigmaos::{Code, Error, Result, Sigma};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts to reach a service that is away.
const PAUSE: Duration = Duration::from_millis(10);

/// A service at a path, called by its client `C`. Cheap to clone.
#[derive(Debug)]
pub struct Peer<C> {
    sigma: Sigma,
    path: Arc<str>,
    device: Arc<Mutex<Option<Device>>>,
    client: PhantomData<fn() -> C>,
}

impl<C> Clone for Peer<C> {
    fn clone(&self) -> Self {
        let (sigma, path, device) = (self.sigma.clone(), Arc::clone(&self.path), Arc::clone(&self.device));
        Self { sigma, path, device, client: PhantomData }
    }
}

impl<C: From<Device>> Peer<C> {
    /// The service of this name. It need not be there yet.
    pub fn new(sigma: &Sigma, name: &str) -> Self {
        let path = format!("{}/{name}/rpc", crate::service::DIRECTORY).into();
        Self { sigma: sigma.clone(), path, device: Arc::default(), client: PhantomData }
    }

    /// Calls a method that does no harm when it is carried out twice, again while the service is away.
    ///
    /// # Errors
    /// What the service answers; `Unreachable` when it is away for [`AGAIN_FOR`]; `Deadline`.
    pub async fn call<T, F: Future<Output = Result<T>>>(&self, run: impl Fn(C) -> F) -> Result<T> {
        self.attempt(true, run).await
    }

    /// Calls a method that must not be carried out twice: again only where it surely was not.
    ///
    /// # Errors
    /// As [`Peer::call`].
    pub async fn call_once<T, F: Future<Output = Result<T>>>(&self, run: impl Fn(C) -> F) -> Result<T> {
        self.attempt(false, run).await
    }

    async fn attempt<T, F: Future<Output = Result<T>>>(
        &self,
        harmless: bool,
        run: impl Fn(C) -> F,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            let error = match self.device().await {
                Ok(device) => match run(C::from(device.clone())).await {
                    // It is the service that is away, and not one that it called.
                    Err(error)
                        if device.connection().closed().is_some() && (harmless || !error.maybe_done) =>
                    {
                        error
                    }
                    answered => return answered,
                },
                // Its proc is between two lives.
                Err(error) if matches!(error.code, Code::NotFound | Code::Unreachable) => error,
                Err(error) => return Err(error),
            };
            if begun.elapsed() > AGAIN_FOR {
                return Err(Error {
                    code: Code::Unreachable,
                    ..error.context(format!("{} is away", self.path))
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn device(&self) -> Result<Device> {
        let kept = self.device.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(device) = kept.filter(|device| device.connection().closed().is_none()) {
            return Ok(device);
        }
        let device = self.sigma.open_rpc(&self.path).await?.deadline(Some(CALL_DEADLINE));
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = Some(device.clone());
        Ok(device)
    }
}
