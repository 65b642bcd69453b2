//! Ctrl-C as a question that waiting loops ask, so that what was started is also stopped.

use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether someone asked us to stop: Ctrl-C, SIGTERM or SIGHUP.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(super) fn install() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        ctrlc::set_handler(move || flag.0.store(true, Ordering::SeqCst)).context("listening for Ctrl-C")?;
        Ok(interrupt)
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// # Errors
    /// When someone asked us to stop.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(!self.is_asked(), "interrupted");
        Ok(())
    }
}
