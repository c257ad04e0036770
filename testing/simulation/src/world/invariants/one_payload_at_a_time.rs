//! The payload never runs beside another's within its stop budget (promise G3): who could stop a copy has stopped it
//! before another starts; a copy that nobody could stop, since its controller was dead or frozen, is given the stop budget
//! from the end of its claim.

/// A copy of the payload elsewhere.
pub(in super::super) struct Copy {
    pub site: usize,
    pub orphaned: bool,
    pub claim_ended_ago_ms: i64,
}

/// What is wrong when a copy starts at `site` while those others run.
pub(in super::super) fn beside(
    site: usize,
    mut copies: impl Iterator<Item = Copy>,
    stop_budget_ms: i64,
) -> Option<String> {
    let is_early = |copy: &Copy| !copy.orphaned || copy.claim_ended_ago_ms < stop_budget_ms;
    let early = copies.find(is_early)?;
    Some(format!(
        "G3: the payload starts at site {site} while it runs at site {}, {} ms after the end of its claim{}",
        early.site,
        early.claim_ended_ago_ms,
        if early.orphaned {
            ", where nobody can stop it"
        } else {
            ""
        }
    ))
}
