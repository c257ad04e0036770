//! Rules of the election that are broken one at a time in a copy of its source, so that it is known that the model check
//! would see it.

/// A change of the source.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// A file of the election.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub from: &'static str,
    /// What stands in its place; `BROKEN` tells whether the rule is to be broken.
    pub to: &'static str,
}

/// A broken rule.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// What the members do wrong.
    pub name: &'static str,
    /// How the source is changed for that.
    pub edits: &'static [Edit],
    /// In which situation it shows.
    pub situation: &'static str,
}

/// All of them.
pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "a vote is given before it is durable",
        edits: &[Edit {
            file: "standing.rs",
            from: "            if self.stage(next, context.out) {
                self.ballot = Some(ballot);
",
            to: "            if self.stage(next.clone(), context.out) {
                self.ballot = Some(ballot);
                if BROKEN {
                    self.durable = next;
                    return self.cast_ballot(context);
                }
",
        }],
        situation: "starts late",
    },
    Mutation {
        name: "a voter that starts anew votes at once",
        edits: &[Edit {
            file: "member.rs",
            from: "            && membership.roster.voters.iter().any(|voter| voter.id != id)",
            to: "            && membership.roster.voters.iter().any(|voter| voter.id != id && !BROKEN)",
        }],
        situation: "cannot hear it",
    },
    Mutation {
        name: "a claim is counted from the acknowledgement's arrival",
        edits: &[Edit {
            file: "leading.rs",
            from: "let supports_until = sent_at + ",
            to: "let supports_until = if BROKEN { now } else { sent_at } + ",
        }],
        situation: "that stalls",
    },
    Mutation {
        name: "a voter votes while it is bound to a leader",
        edits: &[Edit {
            file: "member.rs",
            from: "Some(promise) if promise.leader != Some(candidate) && !released(promise.term) => {",
            to: "Some(promise) if promise.leader != Some(candidate) && !released(promise.term) && !BROKEN => {",
        }],
        situation: "cannot hear it",
    },
    Mutation {
        name: "a handover can be taken back",
        edits: &[Edit {
            file: "moving.rs",
            from: "        self.claim = None;
        self.promise = None;
        self.not_before",
            to: "        if !BROKEN {
            self.claim = None;
        }
        self.promise = None;
        self.not_before",
        }],
        situation: "a leader hands over",
    },
    Mutation {
        name: "a claim is not shortened by the drift bound",
        edits: &[Edit {
            file: "settings.rs",
            from: "lease_ms.saturating_mul(1000) / (1000 + self.drift_permille)",
            to: "lease_ms.saturating_mul(1000) / (1000 + if BROKEN { 0 } else { self.drift_permille })",
        }],
        situation: "clocks",
    },
    Mutation {
        name: "a member votes twice in a term",
        edits: &[Edit {
            file: "standing.rs",
            from: "(term == self.durable.term && self.durable.vote.is_none());",
            to: "(term == self.durable.term && (BROKEN || self.durable.vote.is_none()));",
        }],
        situation: "cannot hear each other",
    },
    Mutation {
        name: "a payload starts without waiting for the former one",
        edits: &[Edit {
            file: "standing.rs",
            from: "if term > self.receipt && until > context.now {",
            to: "if term > self.receipt && until > context.now && !BROKEN {",
        }],
        situation: "stops slowly",
    },
    Mutation {
        name: "a fencing receipt is believed for another's payload",
        edits: &[
            Edit {
                file: "obligation.rs",
                from: "let is_named = one.leader == Some(member);",
                to: "let is_named = BROKEN || one.leader == Some(member);",
            },
            Edit {
                file: "obligation.rs",
                from: "let is_covered = one.term <= term;",
                to: "let is_covered = BROKEN || one.term <= term;",
            },
        ],
        situation: "others may remove",
    },
    Mutation {
        name: "a heartbeat of an earlier term is acknowledged",
        edits: &[
            Edit {
                file: "following.rs",
                from: "            term: self.durable.term,
            sequence: heard.sequence,",
                to: "            term: if BROKEN { heard.term } else { self.durable.term },
            sequence: heard.sequence,",
            },
            Edit {
                file: "following.rs",
                from: "                sequence: 0,",
                to: "                sequence: if BROKEN { sequence } else { 0 },",
            },
        ],
        situation: "cannot hear each other",
    },
    Mutation {
        name: "a replica leaves the payload in peace however long",
        edits: &[Edit {
            file: "replacing.rs",
            from: "self.spared_until = Some(until);",
            to: "self.spared_until = Some(if BROKEN { until + 100 } else { until });",
        }],
        situation: "is not heard by one of them",
    },
    Mutation {
        name: "two that may each lead alone do so in one term",
        edits: &[Edit {
            file: "standing.rs",
            from: "Some(_) => next.saturating_add(next & 1),",
            to: "Some(_) => next.saturating_add(if BROKEN { 0 } else { next & 1 }),",
        }],
        situation: "cut off from each other",
    },
];
