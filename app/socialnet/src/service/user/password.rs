//! Passwords: hashed by Argon2id with a salt each, on threads of their own.

use super::{invalid, too_large};
use crate::limits::{MAX_HASHING, MAX_LOGINS, MAX_PASSWORD, MIN_PASSWORD};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use sigmaos::{Code, Error, Result};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What it costs to hash a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Cost {
    /// 19 MiB and two passes, as OWASP recommends.
    #[default]
    Standard,
    /// For load tests: 64 KiB and one pass. No protection where hashes are stolen.
    Cheap,
}

/// Hashes and verifies.
pub(super) struct Passwords {
    argon2: Argon2<'static>,
    /// What the password of an unknown user is compared with, so that it takes as long as that of a known one.
    nobody: Arc<str>,
    turns: Arc<Semaphore>,
    waiting: Semaphore,
}

pub(super) fn check(password: &str) -> Result<()> {
    if password.len() < MIN_PASSWORD {
        return Err(invalid(format!("a password has at least {MIN_PASSWORD} bytes")));
    }
    fits(password)
}

fn fits(password: &str) -> Result<()> {
    if password.len() > MAX_PASSWORD {
        return Err(too_large(format!("a password has at most {MAX_PASSWORD} bytes")));
    }
    Ok(())
}

impl Passwords {
    pub(super) async fn new(cost: Cost) -> Result<Self> {
        let params = match cost {
            Cost::Standard => Params::new(19 << 10, 2, 1, None),
            Cost::Cheap => Params::new(64, 1, 1, None),
        };
        let params = params.map_err(|error| Error::new(Code::Internal, format!("Argon2: {error}")))?;
        let mut passwords = Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            nobody: Arc::from(""),
            turns: Arc::new(Semaphore::new(MAX_HASHING)),
            waiting: Semaphore::new(MAX_LOGINS),
        };
        passwords.nobody = passwords.hash("nobody has this password".into()).await?.into();
        Ok(passwords)
    }

    pub(super) async fn hash(&self, password: String) -> Result<String> {
        let argon2 = self.argon2.clone();
        let hash = move || argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string());
        let hash = self.aside(hash).await?;
        hash.map_err(|error| Error::new(Code::Internal, format!("cannot hash a password: {error}")))
    }

    /// Whether a password is the one of a hash; never for a user without one, after the same time.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        fits(&password)?;
        let known = hash.is_some();
        let hash = hash.map_or_else(|| Arc::clone(&self.nobody), Arc::from);
        let argon2 = self.argon2.clone();
        let verify = move || {
            PasswordHash::new(&hash)
                .is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
        };
        Ok(self.aside(verify).await? && known)
    }

    /// Works on a thread of its own, in its turn.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = |_| Error::new(Code::Busy, "too many log in at once; try again");
        let _waits = self.waiting.try_acquire().map_err(busy)?;
        let broken = || Error::new(Code::Internal, "the thread for passwords has gone");
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| broken())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| broken())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_a_known_user_is_right() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let passwords = Passwords::new(Cost::Cheap).await.unwrap();
            let hash = passwords.hash("correct horse".into()).await.unwrap();
            assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
            assert_ne!(hash, passwords.hash("correct horse".into()).await.unwrap(), "each has its salt");
            assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
            assert!(!passwords.verify("wrong horse".into(), Some(hash)).await.unwrap());
            assert!(!passwords.verify("nobody has this password".into(), None).await.unwrap());
            assert!(!passwords.verify("x".into(), Some("no hash".into())).await.unwrap());
            let long = passwords.verify("x".repeat(MAX_PASSWORD + 1), None).await;
            assert_eq!(long.unwrap_err().code, Code::TooLarge);
        });
        assert_eq!(check("short").unwrap_err().code, Code::Invalid);
    }
}
