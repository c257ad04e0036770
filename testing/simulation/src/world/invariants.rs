//! The promises of the election, one file for each.

mod a_leader_after_healing;
mod no_lower_term_over_a_higher;
mod one_claim_at_a_time;
mod one_leader_in_a_term;
pub mod one_payload_at_a_time;

use self::no_lower_term_over_a_higher::TermsThatRan;
use self::one_leader_in_a_term::Leaders;
pub use self::one_payload_at_a_time::Copy;
use crate::election::{GroupId, MemberId, Term};

/// A site that holds a claim, or was ordered to run the payload.
#[derive(Clone, Copy)]
pub struct Sight {
    /// Where.
    pub site: usize,
    /// Its member.
    pub id: MemberId,
    /// The member's group.
    pub group: GroupId,
    /// The term in which it leads.
    pub term: Term,
}

/// What has to be remembered in order to see a promise broken.
#[derive(Default)]
pub struct Invariants {
    leaders: Leaders,
    terms_that_ran: TermsThatRan,
}

impl Invariants {
    /// A site holds a claim; so does its rival, if there is one, in the same group. Tells what is wrong with that.
    pub fn see_claim(&mut self, sight: Sight, rival: Option<usize>) -> Option<String> {
        let two = one_claim_at_a_time::beside(sight, rival);
        self.leaders.see(sight).or(two)
    }

    /// A site was ordered to run the payload. Tells what is wrong with that.
    pub fn see_run(&mut self, sight: Sight) -> Option<String> {
        self.terms_that_ran.see(sight)
    }
}
