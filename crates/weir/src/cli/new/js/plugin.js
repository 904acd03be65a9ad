// Greets the upstream, and turns away who does not know the word.
import * as log from "weir:plugin/log@1.0.0";
import * as time from "weir:plugin/time@1.0.0";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
let settings;

// What is kept for one exchange, from its first hook to its last.
class Exchange {
  constructor(_id) {
    this.began = undefined;
  }
}

export const plugin = {
  Exchange,

  // What the configuration may set. All of it is checked before a request is served.
  load(text) {
    settings = { word: "hello", ...JSON.parse(text) };
    for (const [name, value] of Object.entries(settings)) {
      if (name !== "word" && name !== "secret") refuse(`there is no setting ${name}`);
      if (typeof value !== "string") refuse(`${name}: a string is wanted`);
    }
    return { hooks: { request: true, response: true } };
  },
};

// What is thrown with a `payload` is the error of a function's result.
function refuse(message) {
  throw Object.assign(new Error(message), { payload: message });
}

// A verdict is one of a variant: its name and what goes with it. An error that nobody catches would end the instance.
function verdict(hook) {
  try {
    return hook() ?? { tag: "proceed" };
  } catch (error) {
    return { tag: "fail", val: String(error?.payload ?? error) };
  }
}

export const httpHooks = {
  // After routing, before an upstream is asked.
  onRequest: (x, req) => verdict(() => {
    const given = req.headers().get("x-secret");
    if (settings.secret !== undefined && (given === undefined || decoder.decode(Uint8Array.from(given)) !== settings.secret)) {
      log.info(`a stranger at ${req.path()}`);
      return { tag: "respond", val: { status: 403, headers: [], body: encoder.encode("no\n") } };
    }
    x.began = time.monotonic();
    req.headers().set("x-greeting", encoder.encode(`${settings.word} ${req.clientIp() ?? "you"}`));
  }),

  // The head of the response is there.
  onResponse: (x, res, _req) => verdict(() => {
    if (x.began !== undefined) {
      res.headers().set("x-took", encoder.encode((time.monotonic() - x.began).toFixed(3)));
    }
  }),

  // Not called: `load` does not ask for them.
  onRequestBody: () => ({ tag: "pass" }),
  onResponseBody: () => ({ tag: "pass" }),
  selectUpstream: () => ({ tag: "default" }),
  onLog() {},
};
