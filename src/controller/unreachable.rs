//! Addresses that could not be reached, and why.

use std::collections::BTreeMap;

use crate::election::{Config, Roster};
use crate::peer::Notice;

/// Addresses whose failures are remembered: a fleet has at most as many.
const ADDRESSES_MAX: usize = 64;

/// The last failure of each address.
#[derive(Debug, Default)]
pub(super) struct Unreachable {
    failures: BTreeMap<String, String>,
}

impl Unreachable {
    /// Takes what the transport tells; whether it is a failure that is remembered.
    pub(super) fn take(&mut self, notice: &Notice) -> bool {
        let address = notice.address().to_string();
        if matches!(notice, Notice::Connected { .. }) {
            self.failures.remove(&address);
            return false;
        }
        let fits = self.failures.len() < ADDRESSES_MAX || self.failures.contains_key(&address);
        if fits {
            self.failures.insert(address, notice.to_string());
        }
        fits
    }

    /// Forgets the addresses that are no longer dialled: nothing else would, since nobody connects to them.
    pub(super) fn keep_used(&mut self, config: &Config, roster: Option<&Roster>) {
        self.failures.retain(|address, _| {
            let votes = |roster: &Roster| {
                roster
                    .voters
                    .iter()
                    .any(|voter| *voter.profile.address == **address)
            };
            config.fleet.contains(address) || roster.is_some_and(votes)
        });
    }

    /// By address.
    pub(super) fn failures(&self) -> &BTreeMap<String, String> {
        &self.failures
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::election::{Duty, MemberId, MemoryId, Profile, Settings, Voter};

    fn profile(address: &str) -> Profile {
        Profile {
            name: "newyork".into(),
            address: address.into(),
            rank: 5,
            duty: Duty::Candidate,
        }
    }

    fn failed(address: &str) -> Notice {
        Notice::DialFailed {
            address: Arc::from(address),
            cause: "no route".to_owned(),
        }
    }

    #[test]
    fn a_failure_is_told_until_the_address_answers_or_is_used_no_longer() {
        let mut unreachable = Unreachable::default();
        for address in ["typo:9990", "gotham:9990", "sheffield:9990"] {
            assert!(unreachable.take(&failed(address)));
        }
        let config = Config {
            profile: profile("newyork:9990"),
            fleet: vec!["gotham:9990".to_owned()],
            ready: false,
            found_without: Vec::new(),
            settings: Settings::BALANCED,
            paused: false,
            stop_timeout_ms: 30_000,
        };
        let voter = Voter {
            id: MemberId(2),
            memory: MemoryId(2),
            profile: profile("sheffield:9990"),
        };
        unreachable.keep_used(&config, Some(&Roster::founded(voter, Settings::BALANCED)));
        let left: Vec<_> = unreachable.failures().keys().map(String::as_str).collect();
        assert_eq!(left, ["gotham:9990", "sheffield:9990"]);
        let connected = Notice::Connected {
            address: Arc::from("sheffield:9990"),
        };
        assert!(!unreachable.take(&connected));
        unreachable.keep_used(&config, None);
        let left: Vec<_> = unreachable.failures().keys().map(String::as_str).collect();
        assert_eq!(left, ["gotham:9990"]);
        for port in 0..100 {
            unreachable.take(&failed(&format!("elsewhere:{port}")));
        }
        assert_eq!(unreachable.failures().len(), ADDRESSES_MAX);
    }
}
