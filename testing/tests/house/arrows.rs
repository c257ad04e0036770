//! Which room uses which, and whether it may.

use super::paths::{Written, paths};

/// The plan of the house.
pub(crate) struct Rooms {
    /// The rooms, from the top down.
    pub(crate) layers: &'static [&'static [&'static str]],
    /// For a room, paths that it may not use, with the reason.
    pub(crate) banned: &'static [(&'static str, &'static [(&'static str, &'static str)])],
}

impl Rooms {
    fn layer(&self, room: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.contains(&room))
    }
}

/// What is wrong with one file of `src/`, named relative to it.
pub(crate) fn violations(rooms: &Rooms, file: &str, text: &str) -> Vec<String> {
    let own_path = module_of(file);
    // main.rs and lib.rs stand above all rooms.
    let own_room = own_path.first().map(String::as_str);
    let own_layer = own_room.map(|room| rooms.layer(room));
    if let (Some(room), Some(None)) = (own_room, own_layer) {
        return vec![homeless(file, 1, room)];
    }
    let banned = rooms
        .banned
        .iter()
        .filter(|(room, _)| Some(*room) == own_room)
        .flat_map(|(_, paths)| *paths);
    let banned: Vec<_> = banned.collect();
    let mut told = Vec::new();
    for written in paths(text) {
        let Some(path) = absolute(&own_path, &written) else {
            continue;
        };
        if let [root, room, ..] = path.as_slice() {
            if root == "crate" && is_module(room) && Some(room.as_str()) != own_room {
                match (rooms.layer(room), own_layer.flatten()) {
                    (None, _) => told.push(homeless(file, written.line, room)),
                    (Some(layer), Some(own)) if layer <= own => {
                        let place = if layer == own { "beside" } else { "above" };
                        let own_room = own_room.unwrap_or_default();
                        told.push(format!(
                            "src/{file}:{}: {own_room} may not use {room}, which is {place} it",
                            written.line
                        ));
                    }
                    _ => {}
                }
            }
        }
        for (ban, reason) in &banned {
            if covers(&path, ban) {
                let own_room = own_room.unwrap_or_default();
                told.push(format!(
                    "src/{file}:{}: {own_room} may not use {ban}: {reason}",
                    written.line
                ));
            }
        }
    }
    told.dedup();
    told
}

fn homeless(file: &str, line: usize, room: &str) -> String {
    format!("src/{file}:{line}: {room} is not among the layers of testing/tests/house.rs: give it its place")
}

/// The module that a file is: `peer/dial.rs` is `peer::dial`, `peer/mod.rs` is `peer`, `main.rs` the crate itself.
fn module_of(file: &str) -> Vec<String> {
    let mut segments: Vec<_> = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if matches!(segments.last().map(String::as_str), Some("mod" | "main" | "lib")) {
        segments.pop();
    }
    segments
}

/// The path from the root of its crate, ours being called `crate`; none for one that stays inside its own module.
fn absolute(own: &[String], written: &Written) -> Option<Vec<String>> {
    let mut segments = written.segments.iter().map(String::as_str).peekable();
    let mut base: Vec<&str> = vec!["crate"];
    match *segments.peek()? {
        "crate" | "flagship" => {
            segments.next();
        }
        "super" | "self" => {
            base.extend(own.iter().chain(&written.inside).map(String::as_str));
            while let Some(step) = segments.next_if(|segment| matches!(*segment, "super" | "self")) {
                if step == "super" {
                    base.pop();
                }
            }
        }
        _ => base.clear(),
    }
    Some(base.into_iter().chain(segments).map(str::to_owned).collect())
}

/// Whether a segment after `crate::` names a module: types and constants of the root are written otherwise.
fn is_module(segment: &str) -> bool {
    segment.starts_with(|c: char| c.is_ascii_lowercase()) && segment != "self"
}

/// Whether a path leads to what is banned, by its name or by a star above it.
fn covers(path: &[String], ban: &str) -> bool {
    let ban: Vec<_> = ban.split("::").collect();
    let named = path.len() >= ban.len() && path.iter().zip(&ban).all(|(segment, banned)| segment == banned);
    let starred = path.last().is_some_and(|last| last == "*")
        && path.len() <= ban.len()
        && path[..path.len() - 1]
            .iter()
            .zip(&ban)
            .all(|(segment, banned)| segment == banned);
    named || starred
}
