//! When a certificate is asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::expiry::Certificate;

/// How long is waited after the first failure, the second and so on; the last holds for all that follow. An authority
/// forgives some five failures an hour.
const BACK_OFF: [Duration; 6] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
];
/// A certificate that is younger is not renewed, whatever the authority advises.
const YOUNG: Duration = Duration::from_secs(24 * 3600);
/// Whatever an authority asks for, nothing waits longer.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// When a certificate is to be renewed: `before` its end, or when a third of its life is left, and up to a twentieth of
/// its life earlier, which differs by certificate, so that not all come at the same time. Never in the first third of
/// its life.
pub fn renewal(certificate: &Certificate, before: Option<Duration>) -> SystemTime {
    let life = Duration::from_secs(certificate.not_after.saturating_sub(certificate.not_before));
    let before = before.unwrap_or(life / 3) + (life / 20).mul_f64(place(&certificate.fingerprint));
    let before = before.min(life * 2 / 3);
    (UNIX_EPOCH + Duration::from_secs(certificate.not_after)) - before
}

/// How long is waited after so many failures in a row, at least as long as was asked for.
pub fn back_off(failures: u32, asked: Option<Duration>) -> Duration {
    let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(BACK_OFF.len() - 1);
    let wait = BACK_OFF.get(at).copied().unwrap_or(LONGEST_WAIT);
    let wait = wait.mul_f64(fastrand::f64().mul_add(0.4, 0.8));
    wait.max(asked.unwrap_or_default()).min(LONGEST_WAIT)
}

/// When a certificate is to be renewed by an authority's advice: at a moment of its window that differs by certificate,
/// but not in the first hours of its life, or bad advice would have it renewed without end.
pub fn advised(certificate: &Certificate, start: SystemTime, end: SystemTime) -> SystemTime {
    let life = Duration::from_secs(certificate.not_after.saturating_sub(certificate.not_before));
    let first = UNIX_EPOCH + Duration::from_secs(certificate.not_before) + (life / 10).min(YOUNG);
    let window = end.duration_since(start).unwrap_or_default();
    (start + window.mul_f64(place(&certificate.fingerprint))).max(first)
}

/// A number from 0 to 1 that stays the same for a certificate.
fn place(fingerprint: &str) -> f64 {
    let digits = fingerprint.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    f64::from(digits.unwrap_or_default()) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn certificate(fingerprint: &str) -> Certificate {
        Certificate {
            not_before: 1000 * DAY,
            not_after: 1090 * DAY,
            fingerprint: fingerprint.to_owned(),
            ..Certificate::default()
        }
    }

    fn day(time: SystemTime) -> f64 {
        time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() / DAY as f64
    }

    #[test]
    fn renewal_is_when_a_third_is_left_or_as_asked_for_and_spread() {
        let days = |n| Some(Duration::from_secs(n * DAY));
        for (fingerprint, before, expected) in [
            ("0000", None, 1060.0),
            ("ffff", None, 1055.5),
            ("0000", days(10), 1080.0),
            ("ffff", days(10), 1075.5),
            ("0000", days(1000), 1030.0),
            ("ffff", days(1000), 1030.0),
        ] {
            let due = day(renewal(&certificate(fingerprint), before));
            assert!((due - expected).abs() < 0.01, "{fingerprint} {before:?}: {due}");
        }
    }

    #[test]
    fn advice_is_taken_within_its_window_and_not_at_once() {
        let at = |day: u64| UNIX_EPOCH + Duration::from_secs(day * DAY);
        for (fingerprint, start, end, expected) in
            [("0000", 1020, 1030, 1020.0), ("ffff", 1020, 1030, 1030.0), ("ffff", 900, 901, 1001.0)]
        {
            let due = day(advised(&certificate(fingerprint), at(start), at(end)));
            assert!((due - expected).abs() < 0.01, "{fingerprint} {start}: {due}");
        }
    }

    #[test]
    fn waits_grow_to_a_bound_and_are_no_shorter_than_asked_for() {
        for (failures, seconds) in [(0, 60.0), (1, 60.0), (2, 300.0), (6, 43_200.0), (1000, 43_200.0)] {
            let wait = back_off(failures, None).as_secs_f64();
            assert!(wait >= seconds * 0.79 && wait <= seconds * 1.21, "{failures}: {wait}");
        }
        assert_eq!(back_off(1, Some(Duration::from_secs(7200))), Duration::from_secs(7200));
        assert_eq!(back_off(1, Some(Duration::MAX)), LONGEST_WAIT);
    }
}
