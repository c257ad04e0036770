//! What a person asks for through an annotation of the MultiCluster: taken up once, and answered in the status.

use jiff::{SignedDuration, Timestamp};

use super::words;
use crate::api::{Request, RequestState, RequestStatus, Wish, whole_seconds};
use crate::election::{self, Hindrance, MemberId, RequestId, Roster};

/// A request that is older is not carried out: whoever made it is not waiting any more.
const VALID_FOR: SignedDuration = SignedDuration::from_mins(10);
/// The same for what rests on a person's word that the others are stopped, which is true at that moment.
const RECOVER_VALID_FOR: SignedDuration = SignedDuration::from_mins(1);
/// A member that has just begun knows its group long before.
const GROUP_AWAITED: SignedDuration = SignedDuration::from_secs(10);

/// The last request and what has become of it.
#[derive(Default)]
pub(super) struct Petition {
    status: Option<RequestStatus>,
    /// The text that was read last, so that a wrong one is complained of once.
    read: Option<String>,
    /// Since when a request waits for the member to be in a group.
    waits_since: Option<Timestamp>,
}

impl Petition {
    /// Goes on from what the status says.
    pub(super) fn recall(status: Option<RequestStatus>) -> Petition {
        Petition {
            status,
            ..Petition::default()
        }
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
        if handled {
            self.read = Some(text.to_owned());
            return Ok(None);
        }
        // A manifest that is applied again may bring back an annotation that is done with.
        let made = whole_seconds(request.at);
        let newest = self.status.as_ref().and_then(|status| status.made.as_ref());
        if self.status.as_ref().is_some_and(|status| status.id != request.id)
            && newest.is_some_and(|newest| made.0 < newest.0)
        {
            self.read = Some(text.to_owned());
            return Err("holds a request that is older than the last one, and is not carried out".to_owned());
        }
        let valid_for = match request.wish {
            Wish::Recover => RECOVER_VALID_FOR,
            Wish::Switch { .. } | Wish::Remove { .. } => VALID_FOR,
        };
        let age = now.duration_since(request.at);
        let waited = now.duration_since(*self.waits_since.get_or_insert(now));
        let refusal = if age.abs() > valid_for {
            let minutes = valid_for.as_mins();
            let direction = if age.is_negative() { "ahead of" } else { "behind" };
            let seconds = age.abs().as_secs();
            Some(format!(
                "it was made {seconds} s {direction} this controller's clock, and only one within {minutes} min is \
                 carried out: ask again, and if that is refused too set the clocks"
            ))
        } else if roster.is_none() && waited < GROUP_AWAITED {
            return Ok(None);
        } else if roster.is_none() {
            Some("this member is in no group yet: see its conditions".to_owned())
        } else {
            None
        };
        self.waits_since = None;
        self.read = Some(text.to_owned());
        self.status = Some(RequestStatus {
            id: request.id,
            what: request.wish.to_string(),
            state: RequestState::Asked,
            message: String::new(),
            at: whole_seconds(now),
            made: Some(made),
        });
        let Some(roster) = roster.filter(|_| refusal.is_none()) else {
            self.set(RequestState::Refused, refusal.unwrap_or_default(), now);
            return Ok(None);
        };
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
    fn an_old_request_is_refused_and_a_garbled_one_is_told_of_once() {
        let now = Timestamp::UNIX_EPOCH;
        let cases = [
            (switch("newyork"), 601, Some("behind")),
            (switch("newyork"), -601, Some("ahead of")),
            (switch("newyork"), 600, None),
            (Wish::Recover, 61, Some("behind")),
            (Wish::Recover, 60, None),
        ];
        for (wish, seconds, refused) in cases {
            let mut petition = Petition::default();
            let then = now + SignedDuration::from_secs(seconds);
            let taken = petition.take(Some(&text(wish.clone(), now)), Some(&roster()), then);
            assert_eq!(
                taken.unwrap().is_none(),
                refused.is_some(),
                "{wish} after {seconds} s"
            );
            let status = petition.status().unwrap();
            assert_eq!(status.state == RequestState::Refused, refused.is_some());
            assert!(
                status.message.contains(refused.unwrap_or_default()),
                "{}",
                status.message
            );
        }
        let mut petition = Petition::default();
        assert!(petition.take(Some("{"), Some(&roster()), now).is_err());
        assert_eq!(petition.take(Some("{"), Some(&roster()), now), Ok(None));
    }

    #[test]
    fn a_member_that_stays_without_a_group_refuses() {
        let now = Timestamp::UNIX_EPOCH;
        let mut petition = Petition::default();
        let asked = text(switch("newyork"), now);
        let seconds = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!(petition.take(Some(&asked), None, now), Ok(None));
        assert_eq!(petition.take(Some(&asked), None, seconds(9)), Ok(None));
        assert_eq!(petition.status(), None);
        assert_eq!(petition.take(Some(&asked), None, seconds(10)), Ok(None));
        let status = petition.status().unwrap();
        assert_eq!(
            (status.state, status.message.as_str()),
            (
                RequestState::Refused,
                "this member is in no group yet: see its conditions"
            )
        );
    }

    #[test]
    fn a_request_that_was_made_before_the_last_one_is_not_repeated() {
        let now = Timestamp::UNIX_EPOCH;
        let later = now + SignedDuration::from_secs(60);
        let made = |id: &str, at| {
            let wish = switch("newyork");
            let id = id.to_owned();
            serde_json::to_string(&Request { id, at, wish }).unwrap()
        };
        let (first, second) = (made(ID, now), made("00000000-0000-0000-0000-00000000002b", later));
        let mut petition = Petition::default();
        assert!(matches!(
            petition.take(Some(&first), Some(&roster()), now),
            Ok(Some(_))
        ));
        petition.ended(RequestId(42), Ok(()), now);
        assert!(matches!(
            petition.take(Some(&second), Some(&roster()), later),
            Ok(Some(_))
        ));
        petition.ended(RequestId(43), Ok(()), later);
        // Also by a controller that was started since.
        let mut petition = Petition::recall(petition.status());
        assert!(petition.take(Some(&first), Some(&roster()), later).is_err());
        assert_eq!(petition.take(Some(&first), Some(&roster()), later), Ok(None));
        assert_eq!(
            petition.status().unwrap().id,
            "00000000-0000-0000-0000-00000000002b"
        );
        assert_eq!(petition.take(Some(&second), Some(&roster()), later), Ok(None));
    }
}
