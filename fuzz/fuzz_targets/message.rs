//! Messages of the election, as they come out of a frame.
#![no_main]

use flagship::election::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = serde_json::from_slice::<Message>(bytes) {
        let written = serde_json::to_vec(&message).expect("what was read can be written");
        let again: Message = serde_json::from_slice(&written).expect("and read again");
        assert_eq!(again, message);
    }
});
