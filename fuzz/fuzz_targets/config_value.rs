#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir::fuzzing::config_value(data));
