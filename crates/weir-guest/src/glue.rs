//! The component's exports: each finds the filter and the exchange, and calls the hook of the table.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

use crate::bindings::exports::weir::plugin::plugin::{ExchangeBorrow, Guest, GuestExchange, Manifest};
use crate::bindings::exports::weir::plugin::{
    connect_hooks, http_hooks, migrate_hooks, tick_hooks, websocket_hooks,
};
use crate::bindings::weir::plugin::types::{
    Closed, ConnectVerdict, Frame, FrameVerdict, Hooks, Piece, Selection, Target, Verdict, Watch,
};
use crate::filter::Failure;
use crate::message::{Connection, Request, Response};
use crate::table::{self, Exported};
use crate::websocket::Relay;

thread_local! {
    /// The filter that `load` has made. It lives as long as the instance.
    static FILTER: Cell<Option<&'static dyn Any>> = const { Cell::new(None) };
}

fn filter<T: Exported>() -> Option<&'static T> {
    FILTER.get()?.downcast_ref()
}

/// The exports for a filter.
pub struct Glue<T>(PhantomData<T>);

/// What a filter keeps for one exchange.
pub struct Kept<T: Exported>(RefCell<T::Exchange>);

impl<T: Exported> GuestExchange for Kept<T> {
    fn new(id: u64) -> Kept<T> {
        Kept(RefCell::new(filter::<T>().map(|filter| filter.open(id)).unwrap_or_default()))
    }
}

/// Calls a hook with the filter and what it keeps for an exchange; `none` where the hook is not there.
fn call<T: Exported, F, R>(
    hook: Option<F>,
    x: &ExchangeBorrow<'_>,
    none: R,
    with: impl FnOnce(F, &T, &mut T::Exchange) -> R,
) -> R {
    match (hook, filter::<T>()) {
        (Some(hook), Some(filter)) => with(hook, filter, &mut x.get::<Kept<T>>().0.borrow_mut()),
        _ => none,
    }
}

impl<T: Exported> Guest for Glue<T> {
    type Exchange = Kept<T>;

    fn load(settings: String) -> Result<Manifest, String> {
        std::panic::set_hook(Box::new(|panic| crate::log::error(panic.to_string())));
        let (filter, mut hooks) = table::load::<T>(&settings)?;
        if size_of::<T::Exchange>() == 0 {
            hooks |= Hooks::STATELESS;
        }
        let tick_every = T::TABLE.tick_every.and_then(|every| every(&filter)).map(|time| time.as_secs_f64());
        FILTER.set(Some(Box::leak(Box::new(filter))));
        Ok(Manifest { hooks, tick_every })
    }
}

impl<T: Exported> connect_hooks::Guest for Glue<T> {
    fn on_connect(connection: &Connection) -> ConnectVerdict {
        match (T::TABLE.connect, filter::<T>()) {
            (Some(hook), Some(filter)) => hook(filter, connection).into(),
            _ => ConnectVerdict::Accept,
        }
    }
}

impl<T: Exported> http_hooks::Guest for Glue<T> {
    fn on_request(x: ExchangeBorrow<'_>, req: &Request) -> Verdict {
        call(T::TABLE.request, &x, Verdict::Proceed, |hook, filter: &T, x| hook(filter, x, req).into())
    }

    fn on_request_body(x: ExchangeBorrow<'_>, data: Vec<u8>, last: bool) -> Piece {
        call(T::TABLE.request_body, &x, Piece::Pass, |hook, filter: &T, x| {
            hook(filter, x, &data, last).into()
        })
    }

    fn select_upstream(x: ExchangeBorrow<'_>, selection: Selection, req: &Request) -> Target {
        call(T::TABLE.select_upstream, &x, Target::Default, |hook, filter: &T, x| {
            hook(filter, x, &selection, req).unwrap_or_else(|failure| Target::Fail(failure.into_text()))
        })
    }

    fn on_response(x: ExchangeBorrow<'_>, res: &Response, req: &Request) -> Verdict {
        call(T::TABLE.response, &x, Verdict::Proceed, |hook, filter: &T, x| hook(filter, x, res, req).into())
    }

    fn on_response_body(x: ExchangeBorrow<'_>, data: Vec<u8>, last: bool) -> Piece {
        call(T::TABLE.response_body, &x, Piece::Pass, |hook, filter: &T, x| {
            hook(filter, x, &data, last).into()
        })
    }

    fn on_log(x: ExchangeBorrow<'_>, res: &Response, req: &Request) -> Result<(), String> {
        call(T::TABLE.log, &x, Ok(()), |hook, filter: &T, x| {
            hook(filter, x, res, req).map_err(Failure::into_text)
        })
    }
}

impl<T: Exported> websocket_hooks::Guest for Glue<T> {
    fn on_websocket(x: ExchangeBorrow<'_>, ws: &Relay, req: &Request) -> Result<Watch, String> {
        call(T::TABLE.websocket, &x, Ok(Watch::all()), |hook, filter: &T, x| {
            hook(filter, x, ws, req).map_err(Failure::into_text)
        })
    }

    fn on_frame(x: ExchangeBorrow<'_>, ws: &Relay, frame: Frame) -> FrameVerdict {
        call(T::TABLE.frame, &x, FrameVerdict::Forward, |hook, filter: &T, x| {
            hook(filter, x, ws, &frame).into()
        })
    }

    fn on_message(x: ExchangeBorrow<'_>, ws: &Relay, message: Frame) -> FrameVerdict {
        call(T::TABLE.message, &x, FrameVerdict::Forward, |hook, filter: &T, x| {
            hook(filter, x, ws, &message).into()
        })
    }

    fn on_close(x: ExchangeBorrow<'_>, ws: &Relay, closed: Closed) -> Result<(), String> {
        call(T::TABLE.close, &x, Ok(()), |hook, filter: &T, x| {
            hook(filter, x, ws, &closed).map_err(Failure::into_text)
        })
    }
}

impl<T: Exported> migrate_hooks::Guest for Glue<T> {
    fn save(x: ExchangeBorrow<'_>) -> Result<Vec<u8>, String> {
        call(T::TABLE.save, &x, Err("the plugin does not migrate".to_owned()), |hook, filter: &T, x| {
            hook(filter, x).map_err(Failure::into_text)
        })
    }

    fn on_migrate(x: ExchangeBorrow<'_>, ws: &Relay, old: Vec<u8>) -> Result<Watch, String> {
        call(T::TABLE.migrate, &x, Err("the plugin does not migrate".to_owned()), |hook, filter: &T, x| {
            hook(filter, x, ws, &old).map_err(Failure::into_text)
        })
    }
}

impl<T: Exported> tick_hooks::Guest for Glue<T> {
    fn on_tick() -> Result<(), String> {
        match (T::TABLE.tick, filter::<T>()) {
            (Some(hook), Some(filter)) => hook(filter).map_err(Failure::into_text),
            _ => Ok(()),
        }
    }

    fn on_timer(name: String) -> Result<(), String> {
        match (T::TABLE.timer, filter::<T>()) {
            (Some(hook), Some(filter)) => hook(filter, &name).map_err(Failure::into_text),
            _ => Ok(()),
        }
    }
}
