//! The callsign that a member goes by: the spec's word or a Secret's, and for a while the one before.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::secret::{Followed, Reading};
use crate::api::{CallsignSource, callsign_problem};
use crate::peer::{Callsign, Credentials};

/// A replaced callsign is accepted for this long, so that a person, or a tool, has the time to replace it in the other
/// clusters as well. Who needs longer writes the former one beside the new one.
const FORMER_ACCEPTED: Duration = Duration::from_secs(3_600);

/// The former callsign stands in the same Secret under the key of the present one with this behind it.
const FORMER_SUFFIX: &str = "-previous";

/// What a member goes by, as far as it is known.
#[derive(Default)]
pub(super) struct Keeper {
    source: Option<CallsignSource>,
    followed: Option<Followed>,
    present: Option<Callsign>,
    /// Written down beside the present one.
    written: Option<Callsign>,
    /// Replaced, and until when it is accepted.
    replaced: Option<(Callsign, Instant)>,
    trouble: Option<String>,
    group: u64,
}

impl Keeper {
    /// Goes by this source from now on.
    pub(super) fn follow(
        &mut self,
        source: &CallsignSource,
        client: &Client,
        namespace: &str,
        tasks: &TaskTracker,
    ) {
        if self.source.as_ref() == Some(source) {
            return;
        }
        let was_word = matches!(self.source, Some(CallsignSource::Word(_)));
        self.source = Some(source.clone());
        match source {
            CallsignSource::Word(word) => {
                self.followed = None;
                self.written = None;
                self.trouble = None;
                if was_word {
                    // An edit of the spec names another group.
                    self.present = None;
                    self.replaced = None;
                    self.group += 1;
                }
                self.replace(Instant::now(), Callsign::new(word));
            }
            CallsignSource::Secret { name, .. } => {
                if self
                    .followed
                    .as_ref()
                    .is_none_or(|followed| followed.name() != name)
                {
                    self.followed = Some(Followed::begin(client, namespace, name, tasks));
                }
                self.read();
            }
        }
    }

    /// Waits until the Secret has changed.
    pub(super) async fn changed(&mut self) {
        match &mut self.followed {
            Some(followed) => followed.changed().await,
            None => std::future::pending().await,
        }
        self.read();
    }

    fn read(&mut self) {
        if let (Some(CallsignSource::Secret { name, key }), Some(followed)) = (&self.source, &self.followed) {
            let (name, key) = (name.clone(), key.clone());
            self.take(Instant::now(), &name, &key, &followed.reading());
        }
    }

    /// Takes what the Secret says; what it does not say well leaves everything as it is.
    fn take(&mut self, now: Instant, name: &str, key: &str, reading: &Reading) {
        let data = match reading {
            Reading::Data(data) => data,
            Reading::Awaited => return,
            Reading::Missing => {
                return self.complain(format!("there is no Secret {name} in this namespace: create it"));
            }
            Reading::Failed(error) => {
                return self.complain(format!(
                    "the Secret {name} cannot be read: {error}. Let the controller get, list and watch it"
                ));
            }
        };
        let word = |key: &str| -> Option<Result<Callsign, String>> {
            let text = std::str::from_utf8(data.get(key)?).map_err(|_| "is not UTF-8".to_owned());
            // Tools that write files end them with a line break.
            Some(text.map(str::trim).and_then(|text| match callsign_problem(text) {
                None => Ok(Callsign::new(text)),
                Some(problem) => Err(problem),
            }))
        };
        let former_key = format!("{key}{FORMER_SUFFIX}");
        match (word(key), word(&former_key).transpose()) {
            (None, _) => self.complain(format!("the Secret {name} has no key {key}: add it")),
            (Some(Err(problem)), _) => self.complain(format!("the Secret {name}, key {key}: {problem}")),
            (_, Err(problem)) => self.complain(format!("the Secret {name}, key {former_key}: {problem}")),
            (Some(Ok(present)), Ok(former)) => {
                self.trouble = None;
                self.written = former;
                self.replace(now, present);
            }
        }
    }

    fn complain(&mut self, trouble: String) {
        let goes_on = if self.present.is_some() {
            ". Until then this member goes by the last callsign that it read"
        } else {
            ". Until then this member takes no part"
        };
        self.trouble = Some(format!("spec.callsignFrom: {trouble}{goes_on}"));
    }

    fn replace(&mut self, now: Instant, callsign: Callsign) {
        match self.present.replace(callsign.clone()) {
            Some(former) if former != callsign => {
                self.replaced = Some((former, now + FORMER_ACCEPTED));
            }
            _ => {}
        }
    }

    /// What to go by now; none where nothing is known yet.
    pub(super) fn credentials(&self, now: Instant) -> Option<Credentials> {
        let callsign = self.present.clone()?;
        let replaced = self.replaced.as_ref();
        let replaced = replaced.filter(|(_, until)| now < *until);
        let former = self
            .written
            .clone()
            .or_else(|| replaced.map(|(former, _)| former.clone()));
        Some(Credentials {
            former: former.filter(|former| *former != callsign),
            callsign,
            identity: None,
        })
    }

    /// Changes when the callsign is that of another group rather than a new one of the same.
    pub(super) fn group(&self) -> u64 {
        self.group
    }

    /// What is wrong with the Secret, in one word and in many.
    pub(super) fn trouble(&self) -> Option<(&'static str, &str)> {
        self.trouble.as_deref().map(|text| ("CallsignUnusable", text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use super::*;

    fn data(entries: &[(&str, &str)]) -> Reading {
        let entries = entries.iter();
        Reading::Data(Arc::new(
            entries
                .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        ))
    }

    fn goes_by(callsign: &str, former: Option<&str>) -> Option<Credentials> {
        Some(Credentials {
            callsign: Callsign::new(callsign),
            former: former.map(Callsign::new),
            identity: None,
        })
    }

    #[test]
    fn a_replaced_callsign_is_accepted_for_an_hour() {
        let (mut keeper, mut now) = (Keeper::default(), Instant::now());
        assert_eq!(keeper.credentials(now), None);
        keeper.take(now, "group", "callsign", &data(&[("callsign", "federation\n")]));
        assert_eq!(keeper.credentials(now), goes_by("federation", None));
        keeper.take(now, "group", "callsign", &data(&[("callsign", "alliance")]));
        assert_eq!(keeper.credentials(now), goes_by("alliance", Some("federation")));
        now += FORMER_ACCEPTED - Duration::from_secs(1);
        // That the Secret is written again begins nothing anew.
        keeper.take(now, "group", "callsign", &data(&[("callsign", "alliance")]));
        assert_eq!(keeper.credentials(now), goes_by("alliance", Some("federation")));
        now += Duration::from_secs(1);
        assert_eq!(keeper.credentials(now), goes_by("alliance", None));
        assert_eq!(keeper.group(), 0, "it is one group all the time");
    }

    #[test]
    fn a_former_callsign_that_is_written_down_is_accepted_as_long_as_it_stands_there() {
        let (mut keeper, mut now) = (Keeper::default(), Instant::now());
        let both = [("callsign", "alliance"), ("callsign-previous", "federation")];
        keeper.take(now, "group", "callsign", &data(&both));
        assert_eq!(keeper.credentials(now), goes_by("alliance", Some("federation")));
        now += 2 * FORMER_ACCEPTED;
        assert_eq!(keeper.credentials(now), goes_by("alliance", Some("federation")));
        keeper.take(now, "group", "callsign", &data(&both[..1]));
        assert_eq!(keeper.credentials(now), goes_by("alliance", None));
    }

    #[test]
    fn what_a_secret_does_not_say_well_is_told_and_changes_nothing() {
        let (mut keeper, now) = (Keeper::default(), Instant::now());
        for (reading, told) in [
            (
                Reading::Missing,
                "spec.callsignFrom: there is no Secret group in this namespace: create it. Until then this member takes no part",
            ),
            (
                data(&[("other", "x")]),
                "spec.callsignFrom: the Secret group has no key callsign: add it. Until then this member takes no part",
            ),
        ] {
            keeper.take(now, "group", "callsign", &reading);
            assert_eq!(
                (keeper.trouble().map(|(_, told)| told), keeper.credentials(now)),
                (Some(told), None)
            );
        }
        keeper.take(now, "group", "callsign", &data(&[("callsign", "federation")]));
        assert_eq!(keeper.trouble(), None);
        let bad = [
            Reading::Missing,
            Reading::Failed("no".to_owned()),
            data(&[("callsign", " \n")]),
            data(&[("callsign", "alliance"), ("callsign-previous", "")]),
            Reading::Data(Arc::new([("callsign".to_owned(), vec![0xff])].into())),
        ];
        for reading in bad {
            keeper.take(now, "group", "callsign", &reading);
            let (_, told) = keeper.trouble().unwrap();
            assert!(told.contains("goes by the last callsign"), "{told}");
            assert_eq!(keeper.credentials(now), goes_by("federation", None));
        }
        keeper.take(now, "group", "callsign", &Reading::Awaited);
        assert_eq!(keeper.credentials(now), goes_by("federation", None));
    }
}
