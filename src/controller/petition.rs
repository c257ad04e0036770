//! What a person asks for through an annotation of the MultiCluster: taken up once, and answered in the status.

use jiff::{SignedDuration, Timestamp};

use super::words;
use crate::api::{Request, RequestState, RequestStatus, Wish, whole_seconds};
use crate::election::{self, Hindrance, MemberId, RequestId, Roster};

/// A request that is older is not carried out: whoever made it is not waiting any more.
const VALID_FOR: SignedDuration = SignedDuration::from_mins(10);

/// The last request and what has become of it.
#[derive(Default)]
pub(super) struct Petition {
    status: Option<RequestStatus>,
    /// The text that was read last, so that a wrong one is complained of once.
    read: Option<String>,
}

impl Petition {
    /// Goes on from what the status says.
    pub(super) fn recall(status: Option<RequestStatus>) -> Petition {
        Petition { status, read: None }
    }

    pub(super) fn status(&self) -> Option<RequestStatus> {
        self.status.clone()
    }

    /// What to ask the election for, if the annotation asks for something new.
    ///
    /// # Errors
    /// What is wrong with the annotation; told once.
    pub(super) fn take(
        &mut self,
        text: Option<&str>,
        roster: Option<&Roster>,
        now: Timestamp,
    ) -> Result<Option<(RequestId, election::Wish)>, String> {
        let Some(text) = text.filter(|text| self.read.as_deref() != Some(text)) else {
            return Ok(None);
        };
        let request: Request = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => {
                self.read = Some(text.to_owned());
                return Err(format!("cannot be read: {error}"));
            }
        };
        let Ok(id) = request.id.parse::<RequestId>() else {
            self.read = Some(text.to_owned());
            return Err(format!("{:?} is not a UUID", request.id));
        };
        let handled = self.status.as_ref().is_some_and(|status| {
            status.id == request.id && matches!(status.state, RequestState::Done | RequestState::Refused)
        });
        if handled || now.duration_since(request.at).abs() > VALID_FOR {
            self.read = Some(text.to_owned());
            return Ok(None);
        }
        // A member that has just begun knows its group in a moment.
        let Some(roster) = roster else { return Ok(None) };
        self.read = Some(text.to_owned());
        self.status = Some(RequestStatus {
            id: request.id,
            what: request.wish.to_string(),
            state: RequestState::Asked,
            message: String::new(),
            at: whole_seconds(now),
        });
        let wish = match request.wish {
            Wish::Switch { to, force } => member(roster, &to).map(|to| election::Wish::Move { to, force }),
            Wish::Remove { member: name } => {
                member(roster, &name).map(|member| election::Wish::Remove { member })
            }
            Wish::Recover => Ok(election::Wish::Recover),
        };
        match wish {
            Ok(wish) => Ok(Some((id, wish))),
            Err(message) => {
                self.set(RequestState::Refused, message, now);
                Ok(None)
            }
        }
    }

    pub(super) fn under_way(&mut self, request: RequestId, now: Timestamp) {
        if self.is(request) {
            self.set(RequestState::UnderWay, String::new(), now);
        }
    }

    pub(super) fn ended(&mut self, request: RequestId, outcome: Result<(), Hindrance>, now: Timestamp) {
        if self.is(request) {
            match outcome {
                Ok(()) => self.set(RequestState::Done, String::new(), now),
                Err(why) => self.set(RequestState::Refused, words::hindrance(why).to_owned(), now),
            }
        }
    }

    fn is(&self, request: RequestId) -> bool {
        let id = request.to_string();
        self.status.as_ref().is_some_and(|status| status.id == id)
    }

    fn set(&mut self, state: RequestState, message: String, now: Timestamp) {
        if let Some(status) = &mut self.status {
            (status.state, status.message, status.at) = (state, message, whole_seconds(now));
        }
    }
}

/// The voter of that name, or with that identity where two have one name.
fn member(roster: &Roster, name: &str) -> Result<MemberId, String> {
    if let Ok(id) = name.parse::<MemberId>()
        && roster.voter(id).is_some()
    {
        return Ok(id);
    }
    let named: Vec<MemberId> = roster
        .voters
        .iter()
        .filter(|voter| *voter.profile.name == *name)
        .map(|voter| voter.id)
        .collect();
    match named.as_slice() {
        [one] => Ok(*one),
        [] => {
            let names: Vec<&str> = roster.voters.iter().map(|voter| &*voter.profile.name).collect();
            Err(format!(
                "{name} is no member of this group; its members are {}",
                names.join(", ")
            ))
        }
        several => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(format!(
                "{} members are named {name}: give the identity of the one that is meant, which is one of {}",
                several.len(),
                ids.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::election::{Duty, MemoryId, Profile, Settings, Voter};

    const ID: &str = "00000000-0000-0000-0000-00000000002a";

    fn roster() -> Roster {
        let voter = |id: u128, name: &str| Voter {
            id: MemberId(id),
            memory: MemoryId(id),
            profile: Profile {
                name: name.into(),
                address: format!("m{id}:1").into(),
                rank: 1,
                duty: Duty::Candidate,
            },
        };
        Roster::founded(voter(1, "newyork"), Settings::BALANCED)
            .with(voter(2, "sheffield"), 1)
            .with(voter(3, "sheffield"), 1)
    }

    fn text(wish: Wish, at: Timestamp) -> String {
        serde_json::to_string(&Request {
            id: ID.to_owned(),
            at,
            wish,
        })
        .unwrap()
    }

    fn switch(to: &str) -> Wish {
        Wish::Switch {
            to: to.to_owned(),
            force: false,
        }
    }

    #[test]
    fn a_request_is_taken_up_once_and_answered() {
        let now = Timestamp::UNIX_EPOCH;
        let asked = text(switch("newyork"), now);
        let mut petition = Petition::default();
        assert_eq!(
            petition.take(Some(&asked), None, now),
            Ok(None),
            "it knows no group yet"
        );
        let wish = election::Wish::Move {
            to: MemberId(1),
            force: false,
        };
        assert_eq!(
            petition.take(Some(&asked), Some(&roster()), now),
            Ok(Some((RequestId(42), wish)))
        );
        assert_eq!(petition.take(Some(&asked), Some(&roster()), now), Ok(None));
        assert_eq!(petition.status().unwrap().state, RequestState::Asked);
        petition.under_way(RequestId(42), now);
        assert_eq!(petition.status().unwrap().state, RequestState::UnderWay);
        petition.ended(RequestId(42), Err(Hindrance::Silent), now);
        let status = petition.status().unwrap();
        assert_eq!(
            (status.state, status.what.as_str()),
            (RequestState::Refused, "switch to newyork")
        );
        let mut restarted = Petition::recall(Some(status));
        assert_eq!(restarted.take(Some(&asked), Some(&roster()), now), Ok(None));
    }

    #[test]
    fn a_name_that_does_not_name_one_member_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        for (name, message) in [
            (
                "gotham",
                "gotham is no member of this group; its members are newyork, sheffield, sheffield",
            ),
            (
                "sheffield",
                "2 members are named sheffield: give the identity of the one that is meant, which is one of \
                 00000000-0000-0000-0000-000000000002, 00000000-0000-0000-0000-000000000003",
            ),
        ] {
            let mut petition = Petition::default();
            let asked = text(switch(name), now);
            assert_eq!(petition.take(Some(&asked), Some(&roster()), now), Ok(None));
            let status = petition.status().unwrap();
            assert_eq!(
                (status.state, status.message.as_str()),
                (RequestState::Refused, message)
            );
        }
        let mut petition = Petition::default();
        let asked = text(switch("00000000-0000-0000-0000-000000000003"), now);
        assert!(matches!(
            petition.take(Some(&asked), Some(&roster()), now),
            Ok(Some(_))
        ));
    }

    #[test]
    fn an_old_request_is_left_alone_and_a_garbled_one_is_told_of_once() {
        let now = Timestamp::UNIX_EPOCH;
        let mut petition = Petition::default();
        let late = now + SignedDuration::from_mins(11);
        let asked = text(Wish::Recover, now);
        assert_eq!(petition.take(Some(&asked), Some(&roster()), late), Ok(None));
        assert_eq!(petition.status(), None);
        assert!(petition.take(Some("{"), Some(&roster()), now).is_err());
        assert_eq!(petition.take(Some("{"), Some(&roster()), now), Ok(None));
    }
}
