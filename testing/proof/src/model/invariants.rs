//! What never may be, and what must be possible lest the rest says nothing.

use stateright::Property;

use super::group::Group;
use super::state::{Breach, State};

/// All of them.
#[must_use]
pub(super) fn all() -> Vec<Property<Group>> {
    vec![
        Property::always("G1: at most one leader in a term", one_leader_per_term),
        Property::always("G2: at most one valid claim at any instant", one_claim),
        Property::always(
            "G3: at most one payload within claim and stop budget",
            one_payload,
        ),
        Property::always("no lower term over a higher", terms_rise),
        Property::always("what is durable is not taken back", memory_stays),
        Property::always("one roster per stamp", one_roster_per_stamp),
        Property::always("nobody finds the protocol broken", nobody_is_faulty),
        Property::always("nobody is woken again and again", nobody_is_restless),
        Property::sometimes("a leader is elected", somebody_is_elected),
        Property::sometimes("a payload starts", a_payload_starts),
    ]
}

fn one_leader_per_term(_: &Group, state: &State) -> bool {
    state.breach != Some(Breach::TwoElectedInOneTerm)
}

fn one_claim(group: &Group, state: &State) -> bool {
    let holds = |seat: &usize| {
        let member = state.seats[*seat].member();
        member.is_some_and(|member| member.claim(group.now(state, *seat)).is_some())
    };
    !group.guarded || (0..state.seats.len()).filter(holds).count() <= 1
}

fn one_payload(group: &Group, state: &State) -> bool {
    let runs = |copy: &super::state::Copy| state.instant < copy.until;
    let copies = state.seats.iter().filter_map(|seat| seat.copy.as_ref());
    !group.guarded || copies.filter(|copy| runs(copy)).count() <= 1
}

fn terms_rise(_: &Group, state: &State) -> bool {
    state.breach != Some(Breach::LowerTermOverHigher)
}

fn memory_stays(_: &Group, state: &State) -> bool {
    state.breach != Some(Breach::MemoryTakenBack)
}

fn one_roster_per_stamp(group: &Group, state: &State) -> bool {
    let held = |seat: usize| state.seats[seat].disk.group.as_ref();
    let seats = state.seats.len();
    let pairs = (0..seats).flat_map(|one| (one + 1..seats).map(move |other| (one, other)));
    let agree = |(one, other): (usize, usize)| match (held(one), held(other)) {
        (Some(one), Some(other)) => {
            one.id != other.id || one.roster.stamp != other.roster.stamp || one.roster == other.roster
        }
        _ => true,
    };
    !group.guarded || pairs.into_iter().all(agree)
}

fn nobody_is_faulty(_: &Group, state: &State) -> bool {
    state.breach != Some(Breach::Faulty)
}

fn nobody_is_restless(_: &Group, state: &State) -> bool {
    !matches!(state.breach, Some(Breach::Restless | Breach::TwoWrites))
}

fn somebody_is_elected(group: &Group, state: &State) -> bool {
    let before = group.openings.iter().map(|opening| opening.elected.len()).max();
    Some(state.elected.len()) > before
}

fn a_payload_starts(group: &Group, state: &State) -> bool {
    let before = group.openings.iter().map(|opening| opening.highest_run).max();
    Some(state.highest_run) > before
}
