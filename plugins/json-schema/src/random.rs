//! Random numbers for hash tables, from the host. The crate getrandom calls this function where it is compiled with
//! `getrandom_backend="custom"`, as `.cargo/config.toml` says for this target.
#![allow(unsafe_code, reason = "the crate getrandom finds the function by its name")]

use weir_guest::crypto;

/// Fills memory with random bytes.
///
/// # Safety
/// `dest` is good for writing `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    let count = u32::try_from(len).map_err(|_| getrandom::Error::UNEXPECTED)?;
    let random = crypto::random(count).map_err(|_| getrandom::Error::UNEXPECTED)?;
    if random.len() != len {
        return Err(getrandom::Error::UNEXPECTED);
    }
    // SAFETY: `dest` has `len` bytes, as the caller promises, and `random` has as many; they do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(random.as_ptr(), dest, len) };
    Ok(())
}
