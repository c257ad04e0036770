//! The payload never runs beside another's within its stop budget (promise G3): who could stop a copy has stopped it
//! before another starts; a copy that nobody could stop, since its controller was dead or frozen, is given the stop budget
//! from the end of its claim.

/// A copy of the payload elsewhere.
pub struct Copy {
    /// Where.
    pub site: usize,
    /// Its controller died or was frozen since it last ordered it, so that nobody could stop it in time.
    pub orphaned: bool,
    /// How long ago the last claim that its member held ended; negative while it lasts.
    pub claim_ended_ago_ms: i64,
}

/// What is wrong when a copy starts at `site` while those others run.
pub fn beside(site: usize, mut copies: impl Iterator<Item = Copy>, stop_budget_ms: i64) -> Option<String> {
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
