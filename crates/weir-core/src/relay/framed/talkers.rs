//! The plugins of a relay, which are asked about its frames and messages in order.

use std::cell::Cell;
use std::rc::Rc;

use weir_plugin::websocket::{CloseReason, Closed, Direction, Frame, FrameVerdict, Watch};
use weir_plugin::{Hooks, Step, Talk};

use super::pump::Event;
use crate::exchange::{Whose, bounded};
use crate::instances::Running;

/// The plugins of a relay that want to see something of it.
pub(crate) struct Talkers {
    list: Vec<Talker>,
    whose: Whose,
    /// What any of them wants to see.
    watch: Cell<Watch>,
}

/// A plugin on a relay.
#[derive(Clone)]
pub(crate) struct Talker {
    pub(crate) running: Rc<Running>,
    pub(crate) talk: Rc<dyn Talk>,
    pub(crate) watch: Cell<Watch>,
}

/// Which hook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Frames,
    Messages,
}

/// What the plugins together make of a frame or a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on, changed or not.
    Forward(Frame, bool),
    /// It goes no further.
    Drop(Frame),
    /// The relay ends with this.
    Close(CloseReason),
    /// A plugin failed that must not be left out.
    Failed,
}

/// A frame on its way through the plugins.
struct Way {
    frame: Frame,
    changed: bool,
    stage: Stage,
    /// How many plugins were asked.
    asked: usize,
}

impl Talkers {
    pub(crate) fn new(list: Vec<Talker>, whose: Whose) -> Self {
        let watch = Cell::new(any(&list));
        Talkers { list, whose, watch }
    }

    /// What any of them wants to see.
    pub(crate) fn watch(&self) -> Watch {
        self.watch.get()
    }

    /// Takes note of what plugins want to see, where that is something else by now.
    pub(crate) fn take_changes(&self) {
        for talker in &self.list {
            if let Some(watch) = talker.talk.changed() {
                talker.watch.set(within(watch, &talker.running.hooks));
                self.watch.set(any(&self.list));
            }
        }
    }

    /// The plugin of this name.
    pub(crate) fn of(&self, name: &str) -> Option<&Talker> {
        self.list.iter().find(|talker| talker.running.name == name)
    }

    /// Asks all that want to see it, up to the first that does not let it go on.
    pub(super) fn ask(self: &Rc<Self>, stage: Stage, frame: Frame) -> Step<'static, Outcome> {
        let mut way = Way { frame, changed: false, stage, asked: 0 };
        while let Some(talker) = self.next(&mut way) {
            match talker.ask(&way) {
                Step::Done(verdict) => {
                    if let Some(outcome) = self.settle(talker, verdict, &mut way) {
                        return Step::Done(outcome);
                    }
                }
                Step::Wait(waiting) => {
                    let this = self.clone();
                    return Step::Wait(Box::pin(this.wait(way, waiting)));
                }
            }
        }
        Step::Done(Outcome::Forward(way.frame, way.changed))
    }

    async fn wait(
        self: Rc<Self>,
        mut way: Way,
        waiting: std::pin::Pin<Box<dyn Future<Output = FrameVerdict>>>,
    ) -> Outcome {
        let mut step = Step::Wait(waiting);
        // The one that waits was counted as asked.
        let mut talker = self.at(&way, way.asked.saturating_sub(1));
        while let Some(asked) = talker {
            let verdict = bounded(&asked.running, step).await.unwrap_or_else(FrameVerdict::Fail);
            if let Some(outcome) = self.settle(asked, verdict, &mut way) {
                return outcome;
            }
            talker = self.next(&mut way);
            match talker {
                Some(next) => step = next.ask(&way),
                None => break,
            }
        }
        Outcome::Forward(way.frame, way.changed)
    }

    /// The next one that wants to see it, which counts as asked.
    fn next(&self, way: &mut Way) -> Option<&Talker> {
        loop {
            let talker = self.at(way, way.asked)?;
            way.asked += 1;
            let wanted = match way.stage {
                Stage::Frames => talker.watch.get().frames,
                Stage::Messages => talker.watch.get().messages,
            };
            if wanted {
                return Some(talker);
            }
        }
    }

    /// To the upstream in order, to the client in reverse.
    fn at(&self, way: &Way, n: usize) -> Option<&Talker> {
        match way.frame.direction {
            Direction::ToUpstream => self.list.get(n),
            Direction::ToClient => self.list.get(self.list.len().checked_sub(n + 1)?),
        }
    }

    /// What a verdict comes to; `None`: the next one is asked.
    fn settle(&self, talker: &Talker, verdict: FrameVerdict, way: &mut Way) -> Option<Outcome> {
        self.take_changes();
        let hook = way.stage.hook();
        let message = match verdict {
            FrameVerdict::Forward => return None,
            FrameVerdict::Drop => return Some(Outcome::Drop(way.frame.clone())),
            FrameVerdict::Close(close) => return Some(Outcome::Close(close)),
            FrameVerdict::Replace(data) => {
                // Of a fragment it cannot be told before its message is whole.
                let whole = way.frame.first && way.frame.last;
                match if whole { way.frame.opcode.check(&data) } else { Ok(()) } {
                    Ok(()) => {
                        way.frame.data = data;
                        way.changed = true;
                        return None;
                    }
                    Err(error) => error.to_string(),
                }
            }
            FrameVerdict::Fail(message) => message,
        };
        let failed = talker.running.failed(&self.whose, hook, message);
        failed.err().map(|_| Outcome::Failed)
    }

    /// What plugins have made of the pieces of a text is none: they failed.
    pub(super) fn broke_text(&self) -> Event {
        if let Some(talker) = self.list.iter().find(|talker| talker.running.hooks.frame) {
            let message = "what it has made of the pieces of a text message is not UTF-8";
            talker.running.tell(&self.whose, Stage::Frames.hook(), message);
        }
        Event::Failed
    }

    /// Tells all that want something of the relay that it has ended.
    pub(crate) async fn end(&self, closed: &Closed) {
        for talker in
            self.list.iter().filter(|talker| talker.running.hooks.close && talker.watch.get().is_any())
        {
            let told = bounded(&talker.running, talker.talk.on_close(closed.clone())).await.flatten();
            if let Err(message) = told {
                talker.running.tell(&self.whose, "on_close", &message);
            }
        }
    }
}

/// What any of these wants to see.
fn any(list: &[Talker]) -> Watch {
    let any = |wants: fn(&Watch) -> bool| list.iter().any(|talker| wants(&talker.watch.get()));
    Watch {
        frames: any(|watch| watch.frames),
        messages: any(|watch| watch.messages),
        send: any(|watch| watch.send),
    }
}

/// What a plugin is shown that wants this: no more than it has hooks for.
pub(crate) fn within(watch: Watch, hooks: &Hooks) -> Watch {
    Watch {
        frames: watch.frames && hooks.frame,
        messages: watch.messages && hooks.message,
        // Whatever it is.
        send: watch.is_any(),
    }
}

impl Stage {
    fn hook(self) -> &'static str {
        match self {
            Stage::Frames => "on_frame",
            Stage::Messages => "on_message",
        }
    }
}

impl Talker {
    fn ask(&self, way: &Way) -> Step<'static, FrameVerdict> {
        match way.stage {
            Stage::Frames => self.talk.on_frame(way.frame.clone()),
            Stage::Messages => self.talk.on_message(way.frame.clone()),
        }
    }
}
