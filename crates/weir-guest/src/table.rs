//! Which hooks a filter has, found out by the compiler: a [`Probe`] has a constant for each hook, the function where the
//! filter has the hook's trait, and none where it has not.
//!
//! The constant of an `impl` with a bound goes before that of a trait where the bound holds; that is only so for a type that
//! is written out, which is why [`export!`](crate::export!) is a macro.

use std::marker::PhantomData;
use std::time::Duration;

use crate::bindings::weir::plugin::types::{Closed, Frame, Hooks, Selection, Target, Watch};
use crate::filter::*;
use crate::message::{Connection, Request, Response};
use crate::verdict::{ConnectVerdict, FrameVerdict, Piece, Verdict};
use crate::websocket::Relay;

/// Asks which hooks a filter has.
pub struct Probe<T>(PhantomData<T>);

/// A filter that is exported, with the hooks that it has.
pub trait Exported: Filter {
    /// Its hooks.
    const TABLE: Table<Self>;
}

type X<T> = <T as Filter>::Exchange;

macro_rules! hooks {
    ($($field:ident $constant:ident $flag:ident $alias:ident<$t:ident>: $hook:ident::$method:ident = $signature:ty;)*) => {
        $(
            /// A hook's function.
            pub type $alias<$t> = $signature;

            impl<T: $hook> Probe<T> {
                /// The hook is there.
                pub const $constant: Option<$alias<T>> = Some(T::$method);
            }
        )*

        /// What a hook is where its trait is not there.
        pub trait Absent {
            /// The filter.
            type Filter: Filter;
            $(
                /// The hook is not there.
                const $constant: Option<$alias<Self::Filter>> = None;
            )*
        }

        impl<T: Filter> Absent for Probe<T> {
            type Filter = T;
        }

        /// The hooks of a filter.
        pub struct Table<T: Filter> {
            $(
                /// The function of the hook.
                pub $field: Option<$alias<T>>,
            )*
        }

        impl<T: Filter> Table<T> {
            /// What weir is told of.
            #[must_use]
            pub fn hooks(&self) -> Hooks {
                let mut hooks = Hooks::empty();
                $(
                    if self.$field.is_some() {
                        hooks |= Hooks::$flag;
                    }
                )*
                hooks
            }
        }
    };
}

hooks! {
    connect CONNECT CONNECT Connect<T>: OnConnect::on_connect = fn(&T, &Connection) -> Result<ConnectVerdict>;
    request REQUEST REQUEST OnReq<T>: OnRequest::on_request = fn(&T, &mut X<T>, &Request) -> Result<Verdict>;
    request_body REQUEST_BODY REQUEST_BODY OnReqBody<T>: OnRequestBody::on_request_body =
        fn(&T, &mut X<T>, &[u8], bool) -> Result<Piece>;
    select_upstream SELECT_UPSTREAM SELECT_UPSTREAM Select<T>: SelectUpstream::select_upstream =
        fn(&T, &mut X<T>, &Selection, &Request) -> Result<Target>;
    response RESPONSE RESPONSE OnRes<T>: OnResponse::on_response =
        fn(&T, &mut X<T>, &Response, &Request) -> Result<Verdict>;
    response_body RESPONSE_BODY RESPONSE_BODY OnResBody<T>: OnResponseBody::on_response_body =
        fn(&T, &mut X<T>, &[u8], bool) -> Result<Piece>;
    log LOG LOG Log<T>: OnLog::on_log = fn(&T, &mut X<T>, &Response, &Request) -> Result<()>;
    websocket WEBSOCKET WEBSOCKET Websocket<T>: OnWebsocket::on_websocket =
        fn(&T, &mut X<T>, &Relay, &Request) -> Result<Watch>;
    frame FRAME FRAME Framed<T>: OnFrame::on_frame = fn(&T, &mut X<T>, &Relay, &Frame) -> Result<FrameVerdict>;
    message MESSAGE MESSAGE Message<T>: OnMessage::on_message =
        fn(&T, &mut X<T>, &Relay, &Frame) -> Result<FrameVerdict>;
    close CLOSE CLOSE Close<T>: OnClose::on_close = fn(&T, &mut X<T>, &Relay, &Closed) -> Result<()>;
    save SAVE MIGRATE Save<T>: Migrate::save = fn(&T, &mut X<T>) -> Result<Vec<u8>>;
    migrate MIGRATE MIGRATE Moved<T>: Migrate::on_migrate = fn(&T, &mut X<T>, &Relay, &[u8]) -> Result<Watch>;
    tick TICK TICK Tick<T>: OnTick::on_tick = fn(&T) -> Result<()>;
    tick_every TICK_EVERY TICK TickEvery<T>: OnTick::tick_every = fn(&T) -> Option<Duration>;
    timer TIMER TIMER Timer<T>: OnTimer::on_timer = fn(&T, &str) -> Result<()>;
}

/// What `load` of the component does with the settings: the filter, and the hooks that are wanted.
///
/// # Errors
/// A text that says why these settings cannot be.
pub fn load<T: Exported>(settings: &str) -> std::result::Result<(T, Hooks), String> {
    let settings = serde_json::from_str(settings).map_err(|error| format!("settings: {error}"))?;
    let filter = T::load(settings).map_err(Failure::into_text)?;
    let hooks = T::TABLE.hooks() & filter.wants();
    Ok((filter, hooks))
}

/// Makes the component of a [`Filter`]: once, in the root of a crate of the kind `cdylib`. weir is told of the hooks whose
/// traits the filter has, and of no others.
#[macro_export]
macro_rules! export {
    ($filter:ty) => {
        impl $crate::table::Exported for $filter {
            const TABLE: $crate::table::Table<$filter> = {
                #[allow(unused_imports, reason = "a filter may have all hooks")]
                use $crate::table::Absent as _;
                type Probe = $crate::table::Probe<$filter>;
                $crate::table::Table {
                    connect: Probe::CONNECT,
                    request: Probe::REQUEST,
                    request_body: Probe::REQUEST_BODY,
                    select_upstream: Probe::SELECT_UPSTREAM,
                    response: Probe::RESPONSE,
                    response_body: Probe::RESPONSE_BODY,
                    log: Probe::LOG,
                    websocket: Probe::WEBSOCKET,
                    frame: Probe::FRAME,
                    message: Probe::MESSAGE,
                    close: Probe::CLOSE,
                    save: Probe::SAVE,
                    migrate: Probe::MIGRATE,
                    tick: Probe::TICK,
                    tick_every: Probe::TICK_EVERY,
                    timer: Probe::TIMER,
                }
            };
        }

        // Off WebAssembly nothing else uses it.
        const _: fn(&str) -> ::std::result::Result<($filter, $crate::Hooks), ::std::string::String> =
            $crate::table::load::<$filter>;

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "functions of a component are exported by name")]
        const _: () = {
            type Component = $crate::glue::Glue<$filter>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
