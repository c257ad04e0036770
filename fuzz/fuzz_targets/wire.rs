//! Frames and proofs from a stranger, against the transport's synchronous core.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flagship::peer::fuzzing::wire(bytes));
