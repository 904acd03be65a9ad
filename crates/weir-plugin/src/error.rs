//! Why a call of the host did not succeed.

/// Why a call of the host did not succeed; `error` of the WIT package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plugin may not do this, or not now; the text says what is missing.
    #[error("{0}")]
    Denied(String),
    /// More than may be, which is this many bytes or items.
    #[error("too large: {0} is the most there may be")]
    TooLarge(u64),
    /// It took too long.
    #[error("it took too long")]
    Timeout,
    /// A handle, named here, was used when its hook had ended. `cancelled` in WIT.
    #[error(
        "this {0} was used after its hook had ended, or while it waits; copy what you need of it while the hook runs"
    )]
    Expired(&'static str),
    /// An argument that cannot be; the text says what would be right.
    #[error("{0}")]
    Invalid(String),
    /// It failed; the text says why.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// An argument that cannot be.
    pub fn invalid(text: impl Into<String>) -> Self {
        Error::Invalid(text.into())
    }

    /// What the plugin may not do.
    pub fn denied(text: impl Into<String>) -> Self {
        Error::Denied(text.into())
    }
}

/// What most calls of the host come to.
pub type Result<T, E = Error> = std::result::Result<T, E>;
