//! A whole configuration, and the values in it that are written as strings.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use weir_core::Snapshot;
use weir_core::spec::{EndpointAddress, HashKey, HostPattern, ListenAddress};

use crate::assemble::point_at_demo;
use crate::config::value::{Leaf, Mode, Pattern, Size};
use crate::config::{Source, load};

/// A configuration in TOML. Files that it names are read.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let report = match load(&Source::Text(text.to_owned())) {
        Ok(loaded) => {
            let mut spec = loaded.plan.spec;
            let demo = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
            point_at_demo(&mut spec, &loaded.plan.demo, demo);
            let assembled = Snapshot::assemble(&spec, None, None);
            assert!(assembled.is_ok(), "it was found right: {:?}", assembled.err());
            assert_eq!(loaded.report.errors(), 0);
            loaded.report
        }
        Err(report) => {
            assert!(report.errors() > 0, "refused, and it is not told why");
            *report
        }
    };
    let told = report.render(false);
    assert!(!told.contains('\u{1b}'), "no colours where none are wanted");
    assert_eq!(told.is_empty(), report.errors() + report.warnings() == 0);
    report.render(true);
}

/// A value, read as each kind that there is.
pub fn config_value(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let plain = !text.contains('+');
    leaf::<Duration>(text, |duration| *duration <= Duration::from_secs(1000 * 24 * 60 * 60));
    leaf::<Size>(text, |_| true);
    leaf::<IpNet>(text, |net| net.trunc() == *net);
    leaf::<HeaderName>(text, |_| true);
    leaf::<HeaderValue>(text, |value| !value.as_bytes().contains(&b'\n'));
    leaf::<Method>(text, |_| true);
    leaf::<ListenAddress>(text, |address| !matches!(address, ListenAddress::Tcp(_)) || plain);
    leaf::<EndpointAddress>(text, |address| matches!(address, EndpointAddress::Unix(_)) || plain);
    leaf::<HostPattern>(text, |_| true);
    leaf::<Pattern>(text, |_| true);
    leaf::<HashKey>(text, |_| true);
    leaf::<Mode>(text, |mode| mode.0 <= 0o777 && text.bytes().all(|b| b.is_ascii_digit()));
}

fn leaf<T: Leaf>(text: &str, holds: impl FnOnce(&T) -> bool) {
    match T::parse(text) {
        Ok(value) => {
            assert!(holds(&value), "{}: {text:?} is taken as {:?}", T::FORMAT, value.show());
            let shown = value.show();
            let again = T::parse(&shown);
            let again =
                again.unwrap_or_else(|e| panic!("{}: {text:?} is shown as {shown:?}: {e}", T::FORMAT));
            assert_eq!(again.show(), shown, "{}: {text:?}", T::FORMAT);
        }
        Err(wrong) => {
            assert!(!wrong.is_empty(), "{}: {text:?} is refused, and it is not told why", T::FORMAT)
        }
    }
}
