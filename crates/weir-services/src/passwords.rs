//! Hashes of passwords: work that takes tens of milliseconds by design, beside the workers, with bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier as _};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::Passwords;

/// The longest password, in bytes.
const LONGEST_PASSWORD: usize = 1024;
/// The longest hash as text, in bytes.
const LONGEST_HASH: usize = 512;
/// The most memory that a hash may ask for, in KiB.
const MOST_MEMORY: u32 = 256 << 10;
/// The most passes, and the most lanes.
const MOST_PASSES: u32 = 16;
/// The highest cost of bcrypt: each step takes twice as long.
const MOST_COST: u32 = 14;
/// How many may wait for their turn.
const MOST_WAITING: usize = 256;

#[derive(Debug)]
pub(crate) struct Hashes {
    /// Half of the cores, so that the workers go on.
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Hashes {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Hashes {
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }
}

/// A hash that is within the bounds.
enum Hash {
    Argon2(Box<PasswordHash>),
    Bcrypt(String),
}

impl Hash {
    fn parse(text: &str) -> Result<Self> {
        if text.len() > LONGEST_HASH {
            return Err(Error::TooLarge(LONGEST_HASH as u64));
        }
        match text.split('$').nth(1) {
            Some("argon2id" | "argon2i" | "argon2d") => Self::argon2(text),
            Some("2a" | "2b" | "2y") => Self::bcrypt(text),
            _ => Err(Error::invalid(
                "this is no hash of a password: \"$argon2id$…\" and \"$2b$…\" are, as `argon2` and `htpasswd -B` make them",
            )),
        }
    }

    fn argon2(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::invalid(format!("this is no Argon2 hash: {why}"));
        let hash = PasswordHash::new(text).map_err(|error| wrong(error.to_string()))?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(wrong("its salt or the hash itself is missing".to_owned()));
        }
        let params = Params::try_from(&hash).map_err(|error| wrong(error.to_string()))?;
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if memory > MOST_MEMORY || passes > MOST_PASSES || lanes > MOST_PASSES {
            return Err(Error::invalid(format!(
                "this hash asks for m={memory} (KiB), t={passes}, p={lanes}: the most there may be is m={MOST_MEMORY}, \
                 t={MOST_PASSES}, p={MOST_PASSES}"
            )));
        }
        Ok(Hash::Argon2(Box::new(hash)))
    }

    fn bcrypt(text: &str) -> Result<Self> {
        let parts: bcrypt::HashParts =
            text.parse().map_err(|error| Error::invalid(format!("this is no bcrypt hash: {error}")))?;
        match parts.get_cost() {
            4..=MOST_COST => Ok(Hash::Bcrypt(text.to_owned())),
            cost => Err(Error::invalid(format!(
                "this hash asks for a cost of {cost}: there may be 4 to {MOST_COST}"
            ))),
        }
    }

    /// Takes its time. The comparison does not tell where hashes differ.
    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        }
    }
}

impl Passwords for Hashes {
    fn verify(&self, hash: String, password: Vec<u8>) -> Pin<Box<dyn Future<Output = Result<bool>>>> {
        let (turns, places) = (self.turns.clone(), self.places.clone());
        Box::pin(async move {
            if password.len() > LONGEST_PASSWORD {
                return Err(Error::TooLarge(LONGEST_PASSWORD as u64));
            }
            let hash = Hash::parse(&hash)?;
            let failed = |why: &str| Error::Failed(why.to_owned());
            let _place =
                places.try_acquire_owned().map_err(|_| failed("too many passwords wait to be verified"))?;
            let pool = Handle::try_current().map_err(|_| failed("there is no event loop to wait in"))?;
            let turn = turns.acquire_owned().await.map_err(|_| failed("passwords are verified no more"))?;
            let work = pool.spawn_blocking(move || {
                // Held until it is done, whoever gave up waiting.
                let _turn = turn;
                hash.is_of(&password)
            });
            work.await.map_err(|_| failed("verifying the password broke off"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGON2: &str = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21l$";

    async fn check(hash: &str, password: &str) -> Result<bool> {
        Hashes::default().verify(hash.to_owned(), password.as_bytes().to_vec()).await
    }

    fn argon2(password: &str) -> String {
        use argon2::PasswordHasher as _;
        let params = Params::new(64, 1, 1, None).expect("parameters");
        let of = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        of.hash_password_with_salt(password.as_bytes(), b"a salt of 16 byt").expect("a hash").to_string()
    }

    #[tokio::test]
    async fn passwords_are_compared_with_their_hashes() {
        let own = argon2("geheim");
        assert_eq!(check(&own, "geheim").await, Ok(true), "{own}");
        assert_eq!(check(&own, "Geheim").await, Ok(false));
        // Of the reference implementation: `echo -n password | argon2 somesalt -t 2 -m 16 -p 4 -l 24`.
        let reference = "$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG";
        assert_eq!(check(reference, "password").await, Ok(true));
        // Of crypt_blowfish's own tests.
        for version in ["2a", "2b", "2y"] {
            let hash = format!("${version}$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
            assert_eq!(check(&hash, "U*U").await, Ok(true), "{hash}");
            assert_eq!(check(&hash, "U*U*").await, Ok(false), "{hash}");
        }
    }

    #[tokio::test]
    async fn what_asks_for_too_much_is_refused_before_it_is_begun() {
        for (hash, expected) in [
            (ARGON2.replace("m=64", "m=4194304") + "AAAAAAAAAAAAAAAAAAAAAA", "m=4194304"),
            (ARGON2.replace("t=1", "t=4000000") + "AAAAAAAAAAAAAAAAAAAAAA", "t=4000000"),
            (ARGON2.replace("p=1", "p=255").replace("m=64", "m=4096") + "AAAAAAAAAAAAAAAAAAAAAA", "p=255"),
            (ARGON2.trim_end_matches('$').to_owned(), "is missing"),
            ("$2b$20$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(), "a cost of 20"),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(), "no hash"),
            ("$2b$05$é".to_owned(), "no bcrypt hash"),
            ("$argon2id$v=19$m=64$c".to_owned(), "no Argon2 hash"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(), "no hash of a password"),
            (String::new(), "no hash of a password"),
        ] {
            let error = check(&hash, "x").await.expect_err("it is refused").to_string();
            assert!(error.contains(expected), "{hash}: {error}");
        }
        assert_eq!(check(ARGON2, &"x".repeat(2000)).await, Err(Error::TooLarge(1024)));
    }

    #[tokio::test]
    async fn few_run_at_once_and_not_too_many_wait() {
        let hashes = Hashes { turns: Arc::new(Semaphore::new(0)), places: Arc::new(Semaphore::new(1)) };
        let hash = argon2("a");
        let ask = || hashes.verify(hash.clone(), b"a".to_vec());
        let mut first = ask();
        assert!(futures_now(&mut first).is_none(), "it waits for its turn");
        let error = ask().await.expect_err("no place").to_string();
        assert!(error.contains("too many"), "{error}");
        hashes.turns.add_permits(1);
        assert_eq!(first.await, Ok(true));
        assert_eq!(ask().await, Ok(true), "its place is free again");
    }

    /// What a future has come to by now.
    fn futures_now<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
