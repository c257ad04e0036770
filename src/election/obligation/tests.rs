use super::super::trying::*;
use super::super::*;

/// Three of three, elected in term 2 by itself and the first. Both had promised this leader in term 1, the first at `ago_ms`
/// before it voted.
fn elected_after(leader: u128, ago_ms: i64) -> Actor {
    let mut three = Actor::voter(3);
    three.heartbeat(leader, 1, 1);
    three.stand();
    let promised = Promised {
        leader: Some(MemberId(leader)),
        term: 1,
        ended_ago_ms: ago_ms,
    };
    three.hear(1, voted(2, Some(promised)));
    let own = three.member.roster().map(|roster| roster.stamp);
    three.ack(1, 1, own);
    three
}

fn fenced(member: u128, term: Term) -> Event {
    Event::Fenced {
        member: MemberId(member),
        term,
    }
}

const RUN: Order = Order::Run { term: 2 };

#[test]
fn a_leader_starts_when_the_former_one_is_fenced_and_no_longer_waits_for_the_stop_budget() {
    let mut three = elected_after(2, 0);
    assert_eq!(three.member.waits_for_payload_of(), [MemberId(2)]);
    assert_eq!(three.step(fenced(2, 1)), [payload(2, RUN)]);
    assert_eq!(three.member.waits_for_payload_of(), []);
}

#[test]
fn a_receipt_for_another_member_or_an_earlier_term_is_nothing_to_start_on() {
    let mut three = elected_after(2, 0);
    for receipt in [fenced(1, 1), fenced(3, 1), fenced(2, 0)] {
        assert_eq!(three.step(receipt.clone()), [], "{receipt:?}");
    }
    three.now = three.now + STOP;
    assert!(three.tick().contains(&payload(2, RUN)), "when the budget is over");
}

#[test]
fn a_receipt_does_not_replace_what_a_voter_has_forgotten() {
    // Three abstained after its start and knows not whom it had promised.
    let mut three = Actor::voter(3);
    three.stand();
    let promised = Promised {
        leader: Some(MemberId(2)),
        term: 1,
        ended_ago_ms: 0,
    };
    three.hear(1, voted(2, Some(promised)));
    let own = three.member.roster().map(|roster| roster.stamp);
    three.ack(1, 1, own);
    assert_eq!(three.step(fenced(2, 1)), []);
    assert_eq!(
        three.member.waits_for_payload_of(),
        [],
        "of nobody that it could name"
    );
}

#[test]
fn a_receipt_is_not_believed_before_the_promise_is_over() {
    let mut three = elected_after(2, -100);
    assert_eq!(three.step(fenced(2, 1)), []);
    assert_eq!(three.member.waits_for_payload_of(), [MemberId(2)]);
}

#[test]
fn a_receipt_is_not_believed_where_a_claim_needs_nobody() {
    let mut two = Actor::voter_of(2, roster(2, QuorumMode::None, stamp(1, 2)));
    two.heartbeat(1, 1, 1);
    while two.member.view(two.now).part != Part::Waiting {
        two.wait();
        two.persisted();
    }
    assert_eq!(two.member.waits_for_payload_of(), [MemberId(1)]);
    assert_eq!(two.step(fenced(1, 1)), []);
}
