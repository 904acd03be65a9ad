//! Parts of a whole, written in percent.

use super::Leaf;

/// A part of a whole, in hundredths of a percent, 0 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// `part` of `whole`, rounded; of nothing it is 0.
    pub fn of(part: u64, whole: u64) -> Self {
        let (part, whole) = (u128::from(part.min(whole)), u128::from(whole.max(1)));
        Share(u32::try_from((part * 10_000 + whole / 2) / whole).unwrap_or(10_000))
    }

    /// In hundredths of a percent, 0 to 10,000.
    pub fn hundredths(self) -> u64 {
        u64::from(self.0)
    }

    /// Whether `part` of `whole` is more than this.
    pub fn is_exceeded(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 10_000 > u128::from(whole) * u128::from(self.0)
    }
}

impl Leaf for Share {
    const FORMAT: &'static str = "share";
    const WANT: &'static str = "a share from \"0%\" to \"100%\" such as \"5%\" or \"0.5%\"";

    fn parse(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else { return Err(format!("`{text}` has no %")) };
        let number = number.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return Err(format!("`{number}` is not a number"));
        }
        if part.len() > 2 {
            return Err(format!("`{number}` has more than two digits after the point"));
        }
        let hundredths = format!("{whole}{part:0<2}").parse().ok().filter(|share| *share <= 10_000);
        hundredths.map(Share).ok_or_else(|| format!("`{text}` is more than 100%"))
    }

    fn show(&self) -> String {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => format!("{whole}%"),
            _ => format!("{whole}.{}%", format!("{part:02}").trim_end_matches('0')),
        }
    }
}
