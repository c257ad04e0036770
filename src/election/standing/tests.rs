//! A candidate and its voters, move by move.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use super::super::trying::*;
use super::super::*;

fn vote(term: Term, stamp: Stamp) -> Message {
    let handover = None;
    Message::Vote {
        term,
        stamp,
        handover,
    }
}

fn refused(term: Term, voter_term: Term) -> Message {
    Message::Voted {
        term,
        granted: false,
        voter_term,
        promised: None,
        receipt: 0,
    }
}

fn three() -> Roster {
    roster(3, QuorumMode::Auto, stamp(1, 3))
}

#[test]
fn a_candidate_asks_makes_its_vote_durable_and_only_then_asks_for_votes() {
    let mut three_ = Actor::voter(3);
    let asked = Message::PreVote {
        term: 2,
        stamp: stamp(1, 3),
    };
    assert_eq!(three_.wait(), [send(1, asked.clone()), send(2, asked)]);
    assert_eq!(three_.now, Tick(LEASE + 1), "the preferred one stands at once");
    assert_eq!(
        three_.hear(1, pre_voted(2, true)),
        [persist(2, durable_of(3, 2, Some(3)))]
    );
    assert_eq!(
        three_.persisted(),
        [send(1, vote(2, stamp(1, 3))), send(2, vote(2, stamp(1, 3)))]
    );
    let elected = Notice::Elected { term: 2, from: None };
    let heartbeat = |sequence| Message::Heartbeat {
        term: 2,
        sequence,
        stamp: stamp(1, 3),
        roster: Some(Arc::new(three())),
    };
    assert_eq!(
        three_.hear(2, voted(2, None)),
        [notify(elected), send(1, heartbeat(1)), send(2, heartbeat(1)),]
    );
    three_.now = three_.now + HEARTBEAT;
    let restamped = Durable {
        incarnation: 2,
        ..durable(3, 2, Some(3), Some(roster(3, QuorumMode::Auto, stamp(2, 4))))
    };
    assert_eq!(
        three_.tick(),
        [
            send(1, heartbeat(2)),
            send(2, heartbeat(2)),
            persist(3, restamped)
        ]
    );
}

/// What member `id` writes as a voter of three.
fn durable_of(id: u128, term: Term, vote: Option<u128>) -> Durable {
    let incarnation = 2;
    Durable {
        incarnation,
        ..durable(id, term, vote, Some(three()))
    }
}

#[test]
fn candidates_stand_in_order_of_rank_a_heartbeat_apart() {
    for (id, after) in [(3, 0), (2, HEARTBEAT), (1, 2 * HEARTBEAT)] {
        let mut actor = Actor::voter(id);
        actor.wait();
        assert_eq!(actor.now, Tick(LEASE + after + 1));
        assert_eq!(actor.member.view(actor.now).part, Part::Candidate);
    }
}

#[test]
fn however_many_are_preferred_the_last_stands_within_a_lease() {
    let many = roster(100, QuorumMode::Auto, stamp(1, 100));
    let actor = Actor::voter_of(4, many);
    assert_eq!(actor.member.deadline(), Some(Tick(2 * LEASE + 1)));
}

#[test]
fn a_voter_writes_its_vote_before_it_gives_it_and_gives_the_same_again() {
    let mut two = Actor::voter(2);
    assert_eq!(
        two.hear(3, vote(2, stamp(1, 3))),
        [persist(2, durable_of(2, 2, Some(3)))]
    );
    let given = Message::Voted {
        term: 2,
        granted: true,
        voter_term: 2,
        promised: Some(Promised {
            leader: None,
            term: 1,
            ended_ago_ms: 0,
        }),
        receipt: 0,
    };
    assert_eq!(two.persisted(), [send(3, given.clone())]);
    assert_eq!(
        two.hear(3, vote(2, stamp(1, 3))),
        [send(3, given)],
        "the answer was lost"
    );
    assert_eq!(
        two.hear(1, vote(2, stamp(1, 3))),
        [send(1, refused(2, 2))],
        "one vote in a term"
    );
}

#[test]
fn after_a_start_a_voter_abstains_for_a_lease() {
    let mut two = Actor::voter(2);
    two.now = Tick(LEASE - 1);
    let message = Message::PreVote {
        term: 2,
        stamp: stamp(1, 3),
    };
    let answer = Message::PreVoted {
        term: 2,
        granted: false,
        voter_term: 1,
        wait_ms: 1,
        roster: None,
    };
    assert_eq!(two.hear(3, message), [send(3, answer)]);
    assert_eq!(two.hear(3, vote(2, stamp(1, 3))), [send(3, refused(2, 1))]);
    two.now = Tick(LEASE);
    assert_eq!(
        two.hear(3, vote(2, stamp(1, 3))),
        [persist(2, durable_of(2, 2, Some(3)))]
    );
}

#[test]
fn a_promise_to_a_leader_refuses_others_until_it_ends() {
    let mut two = Actor::voter(2);
    two.heartbeat(3, 1, 1);
    two.now = two.now + LEASE - 1;
    assert_eq!(two.hear(1, vote(2, stamp(1, 3))), [send(1, refused(2, 1))]);
    two.now = two.now + 1;
    assert_eq!(
        two.hear(1, vote(2, stamp(1, 3))),
        [persist(2, durable_of(2, 2, Some(1)))]
    );
}

#[test]
fn a_promise_made_while_the_vote_was_written_holds_the_vote_back() {
    let mut two = Actor::voter(2);
    two.hear(1, vote(2, stamp(1, 3)));
    two.heartbeat(3, 1, 1);
    // The vote is durable and is not given; the leader hears of the term.
    assert_eq!(two.persisted(), []);
}

#[test]
fn a_vote_that_could_not_be_written_is_not_given() {
    let mut two = Actor::voter(2);
    two.hear(3, vote(2, stamp(1, 3)));
    assert_eq!(two.persist_failed(), []);
    assert_eq!(two.member.term(), 1);
    // Another may have it in the same term, once writing works again.
    assert_eq!(
        two.hear(1, vote(2, stamp(1, 3))),
        [persist(3, durable_of(2, 2, Some(1)))]
    );
}

#[test]
fn a_candidate_whose_vote_cannot_be_written_does_not_stand() {
    let mut three_ = Actor::voter(3);
    three_.wait();
    three_.hear(1, pre_voted(2, true));
    assert_eq!(three_.persist_failed(), []);
    assert_eq!(
        three_.member.view(three_.now).problem,
        Some(Problem::CannotPersist)
    );
    assert_eq!(
        three_.wait(),
        [persist(3, durable_of(3, 1, None))],
        "it tries whether it can write"
    );
    assert_eq!(three_.persisted(), []);
    assert_eq!(three_.member.view(three_.now).problem, None);
    assert_eq!(three_.wait().len(), 2, "and asks both others again");
}

#[test]
fn an_older_roster_is_refused_and_the_newer_one_given() {
    let newer = Roster {
        stamp: stamp(1, 4),
        ..three()
    };
    let mut two = Actor::voter_of(2, newer.clone());
    let message = Message::PreVote {
        term: 2,
        stamp: stamp(1, 3),
    };
    let answer = Message::PreVoted {
        term: 2,
        granted: false,
        voter_term: 1,
        wait_ms: 0,
        roster: Some(Arc::new(newer.clone())),
    };
    assert_eq!(two.hear(3, message), [send(3, answer.clone())]);
    assert_eq!(two.hear(3, vote(2, stamp(1, 3))), [send(3, refused(2, 1))]);
    let mut three_ = Actor::voter(3);
    three_.wait();
    let adopted = Durable {
        incarnation: 2,
        ..durable(3, 1, None, Some(newer))
    };
    assert_eq!(three_.hear(2, answer), [persist(2, adopted)]);
}

#[test]
fn of_two_candidates_the_preferred_goes_first() {
    let asked = |stamp| Message::PreVote { term: 2, stamp };
    let wait = Message::PreVoted {
        term: 2,
        granted: false,
        voter_term: 1,
        wait_ms: ROUND,
        roster: None,
    };
    let mut three_ = Actor::voter(3);
    three_.wait();
    assert_eq!(three_.hear(2, asked(stamp(1, 3))), [send(2, wait.clone())]);
    let mut two = Actor::voter(2);
    two.wait();
    assert_eq!(two.hear(3, asked(stamp(1, 3))), [send(3, pre_voted(2, true))]);
    // Once it writes its own vote it has none left in that term.
    two.hear(1, pre_voted(2, true));
    assert_eq!(two.hear(3, asked(stamp(1, 3))), [send(3, wait)]);
}

#[test]
fn slow_writes_of_voters_make_each_round_longer() {
    let mut three_ = Actor::voter(3);
    for (term, wait) in [(2, ROUND), (3, 2 * ROUND), (4, 4 * ROUND), (5, 6_000), (6, 6_000)] {
        three_.wait();
        three_.hear(1, pre_voted(term, true));
        three_.persisted();
        let began = three_.now;
        three_.wait();
        assert_eq!(three_.now.since(began), wait, "in term {term}");
    }
}

#[test]
fn what_voters_promised_before_is_waited_for_and_a_receipt_ends_the_waiting() {
    let mut three_ = Actor::voter(3);
    three_.stand();
    // Member 2 led in term 1; its claim may have ended 100 ms ago.
    let promised = Promised {
        leader: Some(MemberId(2)),
        term: 1,
        ended_ago_ms: 100,
    };
    three_.hear(1, voted(2, Some(promised)));
    let own = three_.member.roster().map(|roster| roster.stamp);
    assert_eq!(
        three_.ack(1, 1, own),
        [],
        "its own abstention ended a moment ago and is waited for too"
    );
    let mut late = three_.clone();
    late.now = Tick(LEASE + STOP);
    let run = payload(2, Order::Run { term: 2 });
    assert!(late.tick().contains(&run), "no longer");
    assert_eq!(three_.hear(2, Message::Stopped { term: 1 }), [run]);
}

#[test]
fn a_member_of_an_unguarded_pair_takes_silence_for_consent_unless_it_was_asleep() {
    let pair = roster(2, QuorumMode::None, stamp(1, 2));
    let mut awake = Actor::voter_of(2, pair);
    awake.wait();
    let mut asleep = awake.clone();
    let next = awake.wait();
    assert!(matches!(&next[..], [Command::Persist { durable, .. }] if durable.vote == Some(MemberId(2))));
    asleep.now = asleep.now + ROUND + HEARTBEAT + 1;
    assert_eq!(asleep.tick(), [], "what it was told may be waiting to be read");
}

#[test]
fn an_unguarded_pair_shares_no_term() {
    let pair = roster(2, QuorumMode::None, stamp(1, 2));
    let terms = |id| {
        let actor = Actor::voter_of(id, pair.clone());
        [1, 2, 3, 4].map(|term| actor.member.term_above(term))
    };
    assert_eq!(terms(1), [3, 3, 5, 5]);
    assert_eq!(terms(2), [2, 4, 4, 6]);
    assert_eq!([1, 2].map(|term| Actor::voter(1).member.term_above(term)), [2, 3]);
}

#[test]
fn a_leader_that_grants_a_vote_leads_no_longer() {
    let mut three_ = Actor::leader(3);
    let until = three_.member.claim(three_.now).map(|claim| claim.until);
    // Its claim has just ended, and a candidate is quicker than its own timers.
    three_.now = until.unwrap_or_default();
    let own = three_.member.roster().map_or(stamp(0, 0), |roster| roster.stamp);
    let commands = three_.hear(2, vote(3, own));
    let stepped_down = Notice::SteppedDown {
        term: 2,
        reason: StepDown::Superseded,
    };
    let [Command::Persist { durable, .. }, rest @ ..] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!((durable.term, durable.vote), (3, Some(MemberId(2))));
    assert_eq!(rest, [notify(stepped_down), payload(3, Order::Stop)]);
}

#[test]
fn a_leader_whose_claim_ended_says_with_its_vote_that_its_payload_may_run_yet() {
    let mut three_ = Actor::leader(3);
    three_.now = three_
        .member
        .claim(three_.now)
        .map_or(Tick(0), |claim| claim.until);
    three_.tick();
    let own = three_.member.roster().map_or(stamp(0, 0), |roster| roster.stamp);
    three_.now = three_.now + 60;
    three_.hear(2, vote(3, own));
    three_.now = three_.now + 40;
    let given = |promised, receipt| Message::Voted {
        term: 3,
        granted: true,
        voter_term: 3,
        promised,
        receipt,
    };
    let stopping = Promised {
        leader: Some(MemberId(3)),
        term: 2,
        ended_ago_ms: 100,
    };
    assert_eq!(three_.persisted(), [send(2, given(Some(stopping), 0))]);
    three_.stopped();
    assert_eq!(three_.hear(2, vote(3, own)), [send(2, given(None, 2))]);
}
