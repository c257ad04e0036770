//! The messages of the election that the fuzzer begins with: they are read, and written as they were.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use flagship::election::Message;
use serde_json::Value;

#[test]
fn each_message_of_the_corpus_is_read_and_written_as_it_was() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/message");
    let mut seeds = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let message: Message = serde_json::from_slice(&bytes).unwrap();
        let was: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_value(&message).unwrap(), was);
        seeds += 1;
    }
    assert!(seeds >= 10, "{seeds} seeds in {corpus}");
}
