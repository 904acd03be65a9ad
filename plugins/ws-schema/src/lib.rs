//! Checks messages of WebSockets against JSON Schemas: see README.md.
//!
//! In reading order: [`settings`], [`outcome`] (what a message comes to), and here what becomes of it.

mod outcome;
mod settings;
#[cfg(test)]
mod tests;

use weir_guest::prelude::*;

use outcome::Outcome;
use settings::{Fate, Plan, Rules, Settings};

struct Guard(Plan);

/// What is kept of a WebSocket.
#[derive(Default)]
struct Exchange {
    /// What the log has told of it already.
    told: Vec<(Direction, &'static str)>,
}

impl Filter for Guard {
    type Settings = Settings;
    type Exchange = Exchange;

    fn load(settings: Settings) -> Result<Guard> {
        Ok(Guard(settings.resolve()?))
    }
}

impl OnWebsocket for Guard {
    fn on_websocket(&self, _: &mut Exchange, _: &Relay, _: &Request) -> Result<Watch> {
        Ok(Watch::MESSAGES)
    }
}

impl OnMessage for Guard {
    fn on_message(&self, x: &mut Exchange, _: &Relay, message: &Frame) -> Result<FrameVerdict> {
        let (side, rules) = match message.direction {
            Direction::ToUpstream => ("client", &self.0.client),
            Direction::ToClient => ("upstream", &self.0.upstream),
        };
        let Some(rules) = rules else { return Ok(FrameVerdict::Forward) };
        let outcome = outcome::of(&self.0.schemas, rules, message);
        let labels = [("from", side), ("type", outcome.kind()), ("outcome", outcome.name())];
        metrics::counter("messages", &labels)?.add(1.0)?;
        let Some((fate, code)) = self.fate(rules, &outcome) else { return Ok(FrameVerdict::Forward) };
        let reason = outcome.reason(rules.max_size);
        if fate != Fate::Pass && !x.told.contains(&(message.direction, outcome.name())) {
            x.told.push((message.direction, outcome.name()));
            let number = message.sequence;
            log::info(format!("message {number} of the {side}, {}: {reason}", verb(fate)));
        }
        Ok(match fate {
            Fate::Close => FrameVerdict::Close { code, reason },
            Fate::Drop => FrameVerdict::Drop,
            Fate::Report | Fate::Pass => FrameVerdict::Forward,
        })
    }
}

impl Migrate for Guard {
    fn save(&self, _: &mut Exchange) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn on_migrate(&self, _: &mut Exchange, _: &Relay, _: &[u8]) -> Result<Watch> {
        Ok(Watch::MESSAGES)
    }
}

impl Guard {
    /// What becomes of it, and the code with which it would be closed; none where it is valid.
    fn fate(&self, rules: &Rules, outcome: &Outcome<'_>) -> Option<(Fate, u16)> {
        let codes = &self.0.codes;
        match outcome {
            Outcome::Valid(_) => None,
            Outcome::Invalid(..) => Some((rules.invalid, codes.invalid)),
            Outcome::Unknown => Some((rules.unknown, codes.unknown)),
            Outcome::NotJson(_) => Some((rules.not_json, codes.not_json)),
            Outcome::Binary => Some((rules.binary, codes.binary)),
            Outcome::Large => Some((rules.large, codes.large)),
        }
    }
}

fn verb(fate: Fate) -> &'static str {
    match fate {
        Fate::Close => "which ends the WebSocket",
        Fate::Drop => "dropped as others like it",
        Fate::Report | Fate::Pass => "passed as others like it",
    }
}

weir_guest::export!(Guard);
