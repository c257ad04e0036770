//! What a leader counts, against what it would find by looking at everything.

use super::super::trying::*;
use super::super::*;
use super::*;

/// What it counted answer by answer is what it would count now, and its claim is what a majority's promises give.
fn assert_counted(actor: &Actor) {
    let mut anew = actor.member.clone();
    anew.recount();
    assert_eq!(anew, actor.member);
    let (Role::Leading(leading), Some(roster)) = (&actor.member.role, actor.member.roster()) else {
        return;
    };
    let mut supports: Vec<Tick> = leading.voters.iter().map(|seen| seen.supports_until).collect();
    supports.sort_by_key(|until| std::cmp::Reverse(*until));
    let until = supports.get(roster.need() - 2).copied();
    assert_eq!(actor.member.claim.map(|claim| claim.until), until);
    let holds = |seen: &&Seen| seen.stamp == roster.stamp;
    assert_eq!(
        leading.tally.holders_of(roster),
        leading.voters.iter().filter(holds).count()
    );
}

#[test]
fn what_was_counted_answer_by_answer_is_what_is_there() {
    let mut five = Actor::voter_of(5, roster(5, QuorumMode::Auto, stamp(1, 5)));
    five.wait();
    for id in [1, 2] {
        five.hear(id, pre_voted(2, true));
    }
    five.persisted();
    for id in [1, 2] {
        five.hear(id, voted(2, None));
    }
    let mut state = 1_u64;
    let mut below = |bound: u64| {
        // Knuth's MMIX generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for _ in 0..2_000 {
        five.now = five.now + i64::try_from(below(80)).unwrap_or(0);
        five.tick();
        let id = 1 + below(4);
        let held = five.member.roster().map_or(stamp(0, 0), |roster| roster.stamp);
        // Answers overtake one another, and some voters are behind, or change their names and ranks.
        let message = Message::Ack {
            term: 2,
            sequence: five.sequence().saturating_sub(below(4)),
            stamp: stamp(2, held.version - u64::from(below(5) == 0)),
            lease_ms: LEASE,
            obstacle: None,
            profile: Profile {
                rank: if below(50) == 0 { 4 } else { 5 },
                ..profile(u128::from(id))
            },
            receipt: 0,
        };
        five.hear(u128::from(id), message);
        if below(3) == 0 {
            five.persisted();
        }
        assert_counted(&five);
    }
    assert_eq!(
        five.member.part(five.now),
        Part::Leader,
        "it was not kept from leading"
    );
}

#[test]
fn the_highest_rank_among_the_others_that_may_lead_is_known() {
    let mut witness = voter(3);
    witness.profile.duty = Duty::Witness;
    let three = roster(3, QuorumMode::Auto, stamp(1, 3));
    let two = Actor::leader_of(2, three.with(witness, 1));
    let (Role::Leading(leading), Some(roster)) = (&two.member.role, two.member.roster()) else {
        return;
    };
    let topped = [9, 10, 11].map(|rank| leading.tally.is_topped_by(rank, roster));
    assert_eq!(
        topped,
        [false, true, true],
        "member 1 has rank 10, and the witness 30"
    );
}
