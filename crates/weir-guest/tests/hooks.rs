//! What weir is told of: the hooks whose traits a filter has, as far as its settings want them.

use weir_guest::prelude::*;
use weir_guest::testing;

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default)]
    quiet: bool,
}

/// A filter with some hooks.
struct Partial(Settings);

impl Filter for Partial {
    type Settings = Settings;
    type Exchange = u64;

    fn load(settings: Settings) -> Result<Partial> {
        Ok(Partial(settings))
    }

    fn wants(&self) -> Hooks {
        if self.0.quiet { Hooks::all() - Hooks::LOG } else { Hooks::all() }
    }

    fn open(&self, id: u64) -> u64 {
        id
    }
}

impl OnRequest for Partial {
    fn on_request(&self, x: &mut u64, _: &Request) -> Result<Verdict> {
        Ok(Reply::text(200, x.to_string()).into())
    }
}

impl OnLog for Partial {
    fn on_log(&self, _: &mut u64, _: &Response, _: &Request) -> Result<()> {
        Ok(())
    }
}

impl Migrate for Partial {
    fn save(&self, x: &mut u64) -> Result<Vec<u8>> {
        Ok(x.to_le_bytes().to_vec())
    }

    fn on_migrate(&self, x: &mut u64, _: &Relay, old: &[u8]) -> Result<Watch> {
        *x = u64::from_le_bytes(old.try_into()?);
        Ok(Watch::MESSAGES)
    }
}

mod without {
    //! A filter without any hook.

    use weir_guest::prelude::*;

    #[derive(serde::Deserialize)]
    pub(crate) struct Settings {}

    pub(crate) struct Without;

    impl Filter for Without {
        type Settings = Settings;
        type Exchange = ();

        fn load(_: Settings) -> Result<Without> {
            Err(Failure::new("not today"))
        }
    }

    weir_guest::export!(Without);
}

weir_guest::export!(Partial);

#[test]
fn the_traits_of_a_filter_are_its_hooks() {
    let (_, hooks) = testing::load::<Partial>("{}").expect("settings");
    assert_eq!(hooks, Hooks::REQUEST | Hooks::LOG | Hooks::MIGRATE);
    let (_, hooks) = testing::load::<Partial>(r#"{"quiet": true}"#).expect("settings");
    assert_eq!(hooks, Hooks::REQUEST | Hooks::MIGRATE);
    assert_eq!(<without::Without as weir_guest::table::Exported>::TABLE.hooks(), Hooks::empty());
}

#[test]
fn settings_that_cannot_be_are_refused_with_the_reason() {
    let refused = testing::load::<Partial>(r#"{"quiet": 1}"#).err().expect("refused");
    assert!(refused.starts_with("settings: invalid type: integer `1`, expected a boolean"), "{refused}");
    assert_eq!(testing::load::<without::Without>("{}").err().as_deref(), Some("not today"));
}

#[test]
fn state_moves_from_one_exchange_to_another() {
    let (filter, _) = testing::load::<Partial>("{}").expect("settings");
    let (mut old, mut new) = (filter.open(7), filter.open(8));
    let saved = filter.save(&mut old).expect("saved");
    assert_eq!(filter.on_migrate(&mut new, &Relay::new("1"), &saved), Ok(Watch::MESSAGES));
    assert_eq!(new, 7);
    let failed = filter.on_migrate(&mut new, &Relay::new("1"), b"short").expect_err("too short");
    assert_eq!(failed.text(), "could not convert slice to array");
}
