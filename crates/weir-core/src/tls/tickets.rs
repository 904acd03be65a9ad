//! Session tickets: sealed by keys that change, shared by all workers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

/// A ticket is good for two rotations; for no longer than 7 days (RFC 8446, section 4.6.1).
const LONGEST_ROTATION: Duration = Duration::from_secs(7 * 24 * 3600 / 2);
const SHORTEST_ROTATION: Duration = Duration::from_secs(1);
const ID_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// Seals tickets by the current key; opens those of the current and the previous one.
///
/// A ticket is the key's id, a nonce, and the session by AES-256-GCM-SIV (RFC 8452): nonces are random, and there
/// is no number of tickets after which the same one twice would do harm.
pub(super) struct Tickets {
    rotation: Duration,
    keys: ArcSwap<Keys>,
}

struct Keys {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
    /// When the current key becomes the previous one.
    until: Instant,
}

struct Key {
    id: [u8; ID_LEN],
    aead: RandomizedNonceKey,
}

impl Tickets {
    /// `None`: no random numbers.
    pub(super) fn new(rotation: Duration) -> Option<Self> {
        let rotation = rotation.clamp(SHORTEST_ROTATION, LONGEST_ROTATION);
        let keys = Keys { current: Key::new()?, previous: None, until: Instant::now() + rotation };
        Some(Tickets { rotation, keys: ArcSwap::from_pointee(keys) })
    }

    /// Whether keys change this often.
    pub(super) fn rotates_every(&self, rotation: Duration) -> bool {
        self.rotation == rotation.clamp(SHORTEST_ROTATION, LONGEST_ROTATION)
    }

    /// The keys as of `now`: changes them if it is time. Whoever is first wins, the others use what that one made.
    fn keys_at(&self, now: Instant) -> Option<arc_swap::Guard<Arc<Keys>>> {
        let keys = self.keys.load();
        if now < keys.until {
            return Some(keys);
        }
        // Nothing may be opened by a key that is older than two rotations, also if none was used in between.
        let previous = (now < keys.until + self.rotation).then(|| keys.current.clone());
        let next = Keys { current: Key::new()?, previous, until: now + self.rotation };
        self.keys.compare_and_swap(&keys, Arc::new(next));
        Some(self.keys.load())
    }

    fn seal_at(&self, now: Instant, session: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys_at(now)?;
        let key = &keys.current;
        let start = ID_LEN + NONCE_LEN;
        let mut ticket = Vec::with_capacity(start + session.len() + TAG_LEN);
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(&[0; NONCE_LEN]);
        ticket.extend_from_slice(session);
        let (nonce, tag) =
            key.aead.seal_in_place_separate_tag(Aad::from(key.id), &mut ticket[start..]).ok()?;
        ticket[ID_LEN..start].copy_from_slice(nonce.as_ref());
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open_at(&self, now: Instant, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(ID_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys_at(now)?;
        let key = [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten().find(|k| k.id == id)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut session = sealed.to_vec();
        let len = key.aead.open_in_place(nonce, Aad::from(key.id), &mut session).ok()?.len();
        session.truncate(len);
        Some(session)
    }
}

impl Key {
    fn new() -> Option<Arc<Self>> {
        let (mut id, mut secret) = ([0; ID_LEN], [0; 32]);
        rand::fill(&mut id).ok()?;
        rand::fill(&mut secret).ok()?;
        let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, &secret).ok()?;
        Some(Arc::new(Key { id, aead }))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.rotation.as_secs() * 2).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(Instant::now(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open_at(Instant::now(), cipher)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("rotation", &self.rotation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_is_good_until_its_key_changed_twice() {
        let tickets = Tickets::new(HOUR).unwrap();
        let start = Instant::now();
        let ticket = tickets.seal_at(start, b"session").unwrap();
        let opens = |at| tickets.open_at(at, &ticket).as_deref() == Some(b"session");
        assert!(opens(start));
        assert!(opens(start + HOUR * 3 / 2), "the key before is honoured");
        let second = tickets.seal_at(start + HOUR * 3 / 2, b"session").unwrap();
        assert_ne!(second[..ID_LEN], ticket[..ID_LEN], "the key has changed");
        assert!(!opens(start + HOUR * 3), "after two changes it is gone");
        assert!(tickets.open_at(start + HOUR * 3, &second).is_some());
    }

    #[test]
    fn a_key_that_was_not_used_for_long_is_not_honoured() {
        let tickets = Tickets::new(HOUR).unwrap();
        let start = Instant::now();
        let ticket = tickets.seal_at(start, b"session").unwrap();
        assert_eq!(tickets.open_at(start + HOUR * 4, &ticket), None);
    }

    #[test]
    fn tickets_of_other_keys_do_not_open() {
        let (a, b) = (Tickets::new(HOUR).unwrap(), Tickets::new(HOUR).unwrap());
        assert_eq!(b.decrypt(&a.encrypt(b"session").unwrap()), None);
    }

    #[test]
    fn a_ticket_lives_seven_days_at_most() {
        assert_eq!(Tickets::new(HOUR).unwrap().lifetime(), 7200);
        assert_eq!(Tickets::new(HOUR * 1000).unwrap().lifetime(), 7 * 24 * 3600);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(session in proptest::collection::vec(any::<u8>(), 0..600)) {
            let tickets = Tickets::new(HOUR).unwrap();
            prop_assert_eq!(tickets.decrypt(&tickets.encrypt(&session).unwrap()), Some(session));
        }

        #[test]
        fn a_changed_ticket_does_not_open(at in 0usize..64, with in 1u8.., cut in 0usize..64) {
            let tickets = Tickets::new(HOUR).unwrap();
            let ticket = tickets.encrypt(b"a session of twenty!").unwrap();
            let mut changed = ticket.clone();
            changed[at % ticket.len()] ^= with;
            prop_assert_eq!(tickets.decrypt(&changed), None);
            prop_assert_eq!(tickets.decrypt(&ticket[..cut.min(ticket.len() - 1)]), None);
        }
    }
}
