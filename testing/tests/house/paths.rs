//! Finds the paths in Rust source: those of `use` declarations, and those in the midst of code.
//!
//! It reads tokens, not syntax, so it also sees what macros are given.

/// A path as it is written, `use` trees unfolded, with the inline modules that it stands in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Line of the first segment, from 1.
    pub(crate) line: usize,
    /// The inline modules around it, from the outside in.
    pub(crate) inside: Vec<String>,
    /// The segments; the last may be `*`.
    pub(crate) segments: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Other(char),
}

/// Words after which `::` begins a path from the outermost names, rather than goes on with one.
const KEYWORDS: [&str; 14] = [
    "as", "dyn", "else", "for", "if", "impl", "in", "let", "match", "move", "mut", "ref", "return", "use",
];

/// Every path with at least two segments.
pub(crate) fn paths(text: &str) -> Vec<Written> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    // For each brace that is open: the name of the module that it opens, if it opens one.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at].1 {
            Token::Other('{') => braces.push(module_opened(&tokens[..at])),
            Token::Other('}') => {
                braces.pop();
            }
            Token::Word(word) if !KEYWORDS.contains(&word.as_str()) => {
                let line = tokens[at].0;
                let mut unfolded = Vec::new();
                at = unfold(&tokens, at, &[], &mut unfolded);
                let inside: Vec<_> = braces.iter().flatten().cloned().collect();
                found.extend(
                    unfolded
                        .into_iter()
                        .filter(|segments| segments.len() > 1)
                        .map(|segments| Written {
                            line,
                            inside: inside.clone(),
                            segments,
                        }),
                );
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The name of the module whose body begins after these tokens.
fn module_opened(before: &[(usize, Token)]) -> Option<String> {
    match before {
        [.., (_, Token::Word(keyword)), (_, Token::Word(name))] if keyword == "mod" => Some(name.clone()),
        _ => None,
    }
}

/// Reads the path or tree of paths that begins with the word at `at`; returns where it ends.
fn unfold(tokens: &[(usize, Token)], at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = at;
    loop {
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Word(word)) => segments.push(word.clone()),
            Some(Token::Other('*')) => segments.push("*".to_owned()),
            Some(Token::Other('{')) => {
                at += 1;
                while let Some((_, token)) = tokens.get(at) {
                    match token {
                        Token::Other('}') => return at + 1,
                        // The new name of what was just imported.
                        Token::Word(word) if word == "as" => at += 2,
                        Token::Word(_) | Token::Other('*' | '{') => at = unfold(tokens, at, &segments, found),
                        _ => at += 1,
                    }
                }
                return at;
            }
            // A turbofish: what it holds is read on its own.
            _ => {
                found.push(segments);
                return at;
            }
        }
        at += 1;
        if tokens.get(at).map(|(_, token)| token) == Some(&Token::PathSeparator) {
            at += 1;
        } else {
            found.push(segments);
            return at;
        }
    }
}

/// The tokens of a text with their lines, without comments, literals and lifetimes.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let line = |rest: &str| 1 + text[..text.len() - rest.len()].matches('\n').count();
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = &rest[block_comment_length(rest)..];
        } else if let Some(length) = string_length(rest) {
            rest = &rest[length..];
        } else if first == '\'' {
            rest = &rest[quote_length(rest)..];
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let word = &rest[..end];
            match rest[end..].strip_prefix('#') {
                // A raw identifier: the mark is no part of the name.
                Some(name) if word == "r" && name.starts_with(char::is_alphabetic) => rest = name,
                _ => {
                    tokens.push((line(rest), Token::Word(word.to_owned())));
                    rest = &rest[end..];
                }
            }
        } else if let Some(after) = rest.strip_prefix("::") {
            tokens.push((line(rest), Token::PathSeparator));
            rest = after;
        } else {
            if !first.is_whitespace() {
                tokens.push((line(rest), Token::Other(first)));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// Length of the block comment at the start; they nest.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of the string literal at the start, if there is one: plain, raw, of bytes or of C.
fn string_length(text: &str) -> Option<usize> {
    let prefix = ["", "b", "c", "r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"') || (prefix.ends_with('r') && rest.trim_start_matches('#').starts_with('"'))
        })
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = &rest[hashes + 1..];
        let length = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(prefix.len() + hashes + 1 + length);
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(prefix.len() + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Length of the character literal or lifetime at the start.
fn quote_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            text[after..].find('\'').map_or(text.len(), |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        (Some((at, first)), _) if first.is_alphabetic() || first == '_' => {
            let name = &text[at..];
            at + name
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(name.len())
        }
        _ => 1,
    }
}
