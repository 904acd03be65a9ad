import os

from harness import HERE, Peer


class Weir(Peer):
    name = "weir"
    unsupported = {"S9": "has no reload yet"}
    # `cargo xtask bench` builds it; WEIR_BIN measures another build.
    binary = os.environ.get("WEIR_BIN", os.path.join(HERE, "../target/release/weir"))

    def argv(self):
        return [self.binary, "run", "--config", self.render("base.toml")]

    def version(self):
        return self.output(self.binary, "--version")
