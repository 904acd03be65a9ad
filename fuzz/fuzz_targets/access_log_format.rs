#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir::fuzzing::access_log_format(data));
