//! Changes of the roster, move by move.

use super::super::trying::*;
use super::super::*;

fn probe(id: u128, memory: u128, address: &str) -> Message {
    Message::Probe {
        founder: Founder {
            profile: Profile {
                address: address.into(),
                ..profile(id)
            },
            memory: MemoryId(memory),
            ready: false,
            alone: false,
        },
        asked: "m3".to_owned(),
    }
}

fn answer(to: u128, address: &str, message: Message) -> Command {
    Command::Send {
        to: Destination::Member(MemberId(to), Some(address.into())),
        group: Some(GROUP),
        message,
    }
}

fn busy() -> Message {
    let refusal = Refusal::Busy;
    Message::Refused { refusal }
}

/// The voters of the roster that these commands write.
fn written(commands: &[Command]) -> Option<(Stamp, Vec<u128>)> {
    commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| {
            let voters = group.roster.voters.iter().map(|voter| voter.id.0).collect();
            (group.roster.stamp, voters)
        }),
        _ => None,
    })
}

#[test]
fn one_change_is_agreed_before_the_next_begins() {
    let mut three_ = Actor::leader(3);
    let first = three_.hear_stranger(4, probe(4, 4, "m4"));
    assert_eq!(written(&first), Some((stamp(2, 5), vec![1, 2, 3, 4])));
    let meanwhile = three_.hear_stranger(5, probe(5, 5, "m5"));
    assert_eq!(meanwhile, [answer(5, "m5", busy())]);
    let name = "m4".to_owned();
    let told = three_.persisted();
    assert_eq!((told.len(), &told[0]), (4, &notify(Notice::Admitted { name })));
    assert_eq!(
        three_.hear_stranger(5, probe(5, 5, "m5")),
        [answer(5, "m5", busy())]
    );
    let sequence = three_.sequence();
    three_.ack(4, sequence, Some(stamp(2, 5)));
    assert_eq!(
        three_.hear_stranger(5, probe(5, 5, "m5")),
        [answer(5, "m5", busy())],
        "two of four"
    );
    three_.ack(1, sequence, Some(stamp(2, 5)));
    let second = three_.hear_stranger(5, probe(5, 5, "m5"));
    assert_eq!(written(&second), Some((stamp(2, 6), vec![1, 2, 3, 4, 5])));
}

#[test]
fn a_roster_that_cannot_be_written_changes_nothing() {
    let mut three_ = Actor::leader(3);
    three_.hear_stranger(4, probe(4, 4, "m4"));
    assert_eq!(three_.persist_failed(), []);
    assert_eq!(three_.member.roster().map(|roster| roster.voters.len()), Some(3));
}

#[test]
fn a_newly_elected_leader_changes_nothing_before_its_own_roster_is_agreed() {
    let mut three_ = Actor::voter(3);
    three_.stand();
    three_.hear(1, voted(2, None));
    three_.persisted();
    assert_eq!(
        three_.hear_stranger(4, probe(4, 4, "m4")),
        [answer(4, "m4", busy())]
    );
}

#[test]
fn a_voter_that_lost_its_memory_is_removed_and_then_admitted_anew() {
    let mut three_ = Actor::leader(3);
    three_.ack(2, three_.sequence(), Some(stamp(2, 4)));
    let removed = three_.step(Event::Received(Received {
        from: MemberId(2),
        memory: MemoryId(22),
        incarnation: 1,
        recalled: 0,
        version: 1,
        group: None,
        message: probe(2, 22, "m2"),
    }));
    assert_eq!(written(&removed), Some((stamp(2, 5), vec![1, 3])));
    assert_eq!(removed.last(), Some(&answer(2, "m2", busy())));
    three_.persisted();
    // Its old promise counts for nothing, and its new memory for nothing yet.
    three_.ack(1, three_.sequence(), Some(stamp(2, 5)));
    let admitted = three_.hear_stranger(2, probe(2, 22, "m2"));
    assert_eq!(written(&admitted), Some((stamp(2, 6), vec![1, 2, 3])));
}

#[test]
fn what_a_voter_that_lost_its_memory_says_counts_for_nothing() {
    let mut three_ = Actor::leader(3);
    let until = three_.member.claim(three_.now);
    three_.now = three_.now + HEARTBEAT;
    three_.tick();
    let sequence = three_.sequence();
    let commands = three_.step(Event::Received(Received {
        from: MemberId(1),
        memory: MemoryId(11),
        incarnation: 1,
        recalled: 0,
        version: 1,
        group: Some(GROUP),
        message: ack(1, 2, sequence, stamp(2, 4)),
    }));
    assert_eq!((commands, three_.member.claim(three_.now)), (vec![], until));
}

#[test]
fn a_silent_voters_address_goes_to_its_successor_and_a_live_ones_does_not() {
    let mut three_ = Actor::leader(3);
    let clash = three_.hear_stranger(9, probe(9, 9, "m1"));
    let refusal = Refusal::AddressTaken { by: "m1".to_owned() };
    assert_eq!(
        clash,
        [
            notify(Notice::AddressClash {
                asker: "m9".to_owned(),
                voter: "m1".to_owned(),
                address: "m1".to_owned()
            }),
            answer(9, "m1", Message::Refused { refusal }),
        ]
    );
    // Member 2 has not been heard since the election, longer than a lease ago.
    three_.now = three_.now + HEARTBEAT;
    three_.tick();
    while three_.now < Tick(3 * LEASE) {
        three_.ack(1, three_.sequence(), Some(stamp(2, 4)));
        three_.wait();
    }
    let rejoined = three_.hear_stranger(9, probe(9, 9, "m2"));
    assert_eq!(written(&rejoined), Some((stamp(2, 5), vec![1, 3])));
}

#[test]
fn a_leaver_is_told_when_the_roster_without_it_is_agreed() {
    let mut three_ = Actor::leader(3);
    three_.ack(2, three_.sequence(), Some(stamp(2, 4)));
    let commands = three_.hear(2, Message::Leave);
    assert_eq!(written(&commands), Some((stamp(2, 5), vec![1, 3])));
    three_.persisted();
    assert_eq!(three_.hear(2, Message::Leave), [], "not agreed yet");
    assert_eq!(
        three_.ack(1, three_.sequence(), Some(stamp(2, 5))),
        [send_left(Some("m2"))]
    );
    assert_eq!(
        three_.hear(2, Message::Leave),
        [send_left(None)],
        "the answer was lost"
    );
}

fn send_left(address: Option<&str>) -> Command {
    Command::Send {
        to: Destination::Member(MemberId(2), address.map(Arc::from)),
        group: Some(GROUP),
        message: Message::Left,
    }
}

#[test]
fn nobody_is_taken_out_whose_vote_is_needed() {
    // Member 2 is silent, so that members 1 and 3 are all that there is.
    let mut three_ = Actor::leader(3);
    three_.now = three_.now + HEARTBEAT;
    while three_.now < Tick(3 * LEASE) {
        three_.wait();
        three_.ack(1, three_.sequence(), Some(stamp(2, 4)));
    }
    assert_eq!(three_.hear(1, Message::Leave), []);
}

#[test]
fn an_unguarded_pair_becomes_a_majority_when_both_of_it_agreed() {
    let pair = roster(2, QuorumMode::Auto, stamp(1, 2));
    let mut two = Actor::voter_of(2, pair);
    while two.member.view(two.now).part != Part::Leader {
        two.wait();
        two.persisted();
    }
    let term = two.member.term();
    two.ack(1, two.sequence(), two.member.roster().map(|roster| roster.stamp));
    let grown = two.hear_stranger(3, probe(3, 3, "m3"));
    assert_eq!(written(&grown), Some((stamp(term, 4), vec![1, 2, 3])));
    two.persisted();
    let sequence = two.sequence();
    two.ack(3, sequence, Some(stamp(term, 4)));
    assert!(
        !two.member.is_roster_agreed(),
        "the first may lead alone as long as it does not know"
    );
    let moves = two.ack(1, sequence, Some(stamp(term, 4)));
    assert!(moves.contains(&payload(3, Order::Stop)), "the third is preferred");
    two.persisted();
    assert!(two.member.is_roster_agreed());
}

#[test]
fn two_voters_only_where_each_may_lead_alone_by_choice() {
    let pair = roster(2, QuorumMode::None, stamp(1, 2));
    let mut two = Actor::voter_of(2, pair);
    while two.member.view(two.now).part != Part::Leader {
        two.wait();
        two.persisted();
    }
    let refusal = Refusal::TwoVotersOnly;
    assert_eq!(
        two.hear_stranger(3, probe(3, 3, "m3")),
        [answer(3, "m3", Message::Refused { refusal })]
    );
}

fn at(address: &str, id: u128) -> Profile {
    Profile {
        address: address.into(),
        ..profile(id)
    }
}

fn addresses(commands: &[Command]) -> Vec<String> {
    let voters = commands.iter().find_map(|command| match command {
        Command::Persist { durable, .. } => durable.group.as_ref().map(|group| &group.roster.voters),
        _ => None,
    });
    let voters = voters.into_iter().flatten();
    voters.map(|voter| voter.profile.address.to_string()).collect()
}

/// Member 3 leads; 1 and 2 say these addresses.
fn moved(one: &str, two: &str) -> Vec<Command> {
    let mut three_ = Actor::leader(3);
    let sequence = three_.sequence();
    let acknowledged = |id: u128, address: &str| Message::Ack {
        term: 2,
        sequence,
        stamp: stamp(2, 4),
        lease_ms: LEASE,
        obstacle: None,
        profile: at(address, id),
        receipt: 0,
    };
    let mut commands = three_.hear(1, acknowledged(1, one));
    commands.extend(three_.persisted());
    let beat = three_.sequence();
    for (id, address) in [(1, one), (2, two)] {
        let Message::Ack {
            term,
            lease_ms,
            obstacle,
            profile,
            receipt,
            ..
        } = acknowledged(id, address)
        else {
            continue;
        };
        let held = three_.member.roster().map_or(stamp(2, 4), |roster| roster.stamp);
        let again = Message::Ack {
            term,
            sequence: beat,
            stamp: held,
            lease_ms,
            obstacle,
            profile,
            receipt,
        };
        let next = three_.hear(id, again);
        if next
            .iter()
            .any(|command| matches!(command, Command::Persist { .. }))
        {
            commands = next;
            commands.extend(three_.persisted());
        }
    }
    commands
}

#[test]
fn voters_may_exchange_their_addresses_and_none_takes_anothers() {
    assert_eq!(addresses(&moved("m2", "m1")), ["m2", "m1", "m3"]);
    assert_eq!(
        addresses(&moved("new", "m3")),
        ["new", "m2", "m3"],
        "the second stays where it was"
    );
}
