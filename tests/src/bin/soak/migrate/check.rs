//! What a message says, and what its receiver knows of it: that none was lost, came twice or out of order, and that the
//! plugin between both ends still has its counter.

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// So many before it did not come.
    Lost(u64),
    /// It, or one behind it, was there before.
    Again,
    /// The plugin's counter is not the number of messages that went this way.
    Counter,
    /// It was stamped by a script that is older than one before it.
    Back,
    /// It is not what was sent.
    Garbled,
}

/// A message that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// The relay that it is of.
    pub(super) relay: usize,
    /// Whether no other follows.
    pub(super) last: bool,
    /// The script that it went through.
    pub(super) stamp: u64,
}

/// What has come one way of one relay.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The number of the message before.
    seen: u64,
    stamp: u64,
}

/// A message to send, the `number`th of a relay one way. The plugin adds its counter and its stamp.
pub(super) fn message(relay: usize, number: u64, last: bool) -> String {
    let end = if last { "last" } else { "more" };
    format!("{relay} {number} {end} {}", "x".repeat(padding(number)))
}

/// Most are short; some are longer than what a read brings.
fn padding(number: u64) -> usize {
    if number.is_multiple_of(64) { 70_000 } else { usize::try_from(number * 37 % 200).unwrap_or(0) }
}

impl Watch {
    /// Takes the next message. With a fault it counts as taken, too, where it can be read.
    pub(super) fn take(&mut self, text: &str) -> (Option<Taken>, Option<Fault>) {
        let Some((taken, number, counter)) = parse(text) else { return (None, Some(Fault::Garbled)) };
        let (expected, stamp) = (self.seen + 1, self.stamp);
        self.seen = self.seen.max(number);
        self.stamp = self.stamp.max(taken.stamp);
        let fault = match () {
            () if number > expected => Some(Fault::Lost(number - expected)),
            () if number < expected => Some(Fault::Again),
            () if counter != number => Some(Fault::Counter),
            () if taken.stamp < stamp => Some(Fault::Back),
            () => None,
        };
        (Some(taken), fault)
    }
}

/// A message as the plugin has passed it on: with its number and the plugin's counter.
fn parse(text: &str) -> Option<(Taken, u64, u64)> {
    let mut parts = text.split(' ');
    let relay = parts.next()?.parse().ok()?;
    let number: u64 = parts.next()?.parse().ok()?;
    let last = match parts.next()? {
        "last" => true,
        "more" => false,
        _ => return None,
    };
    let whole = parts.next().is_some_and(|x| x.len() == padding(number) && x.bytes().all(|x| x == b'x'));
    let counter = parts.next()?.parse().ok()?;
    let stamp = parts.next()?.parse().ok()?;
    (whole && parts.next().is_none()).then_some((Taken { relay, last, stamp }, number, counter))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of messages, each given as number, counter and stamp.
    fn faults(messages: &[(u64, u64, u64)]) -> Vec<Option<Fault>> {
        let mut watch = Watch::default();
        let take = |(number, counter, stamp): &(u64, u64, u64)| {
            watch.take(&format!("{} {counter} {stamp}", message(7, *number, false))).1
        };
        messages.iter().map(take).collect()
    }

    #[test]
    fn each_fault_is_seen() {
        let well = [None, None, None];
        assert_eq!(faults(&[(1, 1, 0), (2, 2, 0), (3, 3, 9)]), well);
        assert_eq!(faults(&[(1, 1, 0), (4, 2, 0), (5, 5, 0)]), [None, Some(Fault::Lost(2)), None]);
        assert_eq!(faults(&[(1, 1, 0), (1, 2, 0), (2, 2, 0)]), [None, Some(Fault::Again), None], "twice");
        let out_of_order = [Some(Fault::Lost(1)), Some(Fault::Again), None];
        assert_eq!(faults(&[(2, 2, 0), (1, 1, 0), (3, 3, 0)]), out_of_order);
        assert_eq!(
            faults(&[(1, 1, 0), (2, 1, 1), (3, 3, 1)]),
            [None, Some(Fault::Counter), None],
            "forgotten"
        );
        assert_eq!(faults(&[(1, 1, 5), (2, 2, 4), (3, 3, 5)]), [None, Some(Fault::Back), None]);
    }

    #[test]
    fn what_was_not_sent_is_garbled() {
        let sent = format!("{} 64 3", message(7, 64, true));
        let taken = Taken { relay: 7, last: true, stamp: 3 };
        assert_eq!(Watch { seen: 63, stamp: 0 }.take(&sent), (Some(taken), None));
        let cut = sent.replacen("xx", "x", 1);
        let other = sent.replacen("xx", "xy", 1);
        for text in [
            cut.as_str(),
            other.as_str(),
            &sent[..sent.len() - 5],
            &format!("{sent} 1"),
            "",
            "7 1 more x 1 1",
        ] {
            assert_eq!(Watch::default().take(text), (None, Some(Fault::Garbled)), "{:.20}", text);
        }
    }
}
