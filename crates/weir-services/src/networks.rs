//! IP addresses and networks.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::{NetworkParser, Networks};

#[derive(Debug)]
pub(crate) struct Parser;

/// Sorted and without what others hold: an address is found in the number of steps of a binary search.
#[derive(Debug)]
struct Set(Vec<IpNet>);

impl NetworkParser for Parser {
    fn parse(&self, networks: &[String]) -> Result<Box<dyn Networks>> {
        let parse = |text: &String| {
            let address = text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical()));
            let network = address.or_else(|_| text.parse::<IpNet>().map(|network| network.trunc()));
            network.map_err(|_| {
                Error::invalid(format!(
                    "\"{text}\" is no address and no network: \"10.0.0.0/8\" is, for example"
                ))
            })
        };
        let networks: Vec<IpNet> = networks.iter().map(parse).collect::<Result<_>>()?;
        let mut networks = IpNet::aggregate(&networks);
        networks.sort();
        Ok(Box::new(Set(networks)))
    }
}

impl Networks for Set {
    fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let after = self.0.partition_point(|network| network.network() <= ip);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|network| network.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_their_networks() {
        let all = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "192.0.2.7/24", "0.0.0.0/32"];
        let set = Parser.parse(&all.map(str::to_owned)).expect("they are networks");
        for (ip, expected) in [
            ("10.200.0.1", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.200", true),
            ("192.0.3.0", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::", false),
            ("0.0.0.0", true),
            ("::", false),
        ] {
            assert_eq!(set.contains(ip.parse().expect("an address")), expected, "{ip}");
        }
        assert!(Parser.parse(&["10.0.0.0/33".to_owned()]).is_err());
        assert!(!Parser.parse(&[]).expect("nothing").contains("10.0.0.1".parse().expect("an address")));
    }
}
