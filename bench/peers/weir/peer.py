import os

from harness import HERE, Peer


class Weir(Peer):
    name = "weir"
    gen2 = 'response_headers = { set = { x-gen = "{gen}" } }'
    # `cargo xtask bench` builds it; WEIR_BIN measures another build.
    binary = os.environ.get("WEIR_BIN", os.path.join(HERE, "../target/release/weir"))

    def argv(self):
        return [self.binary, "run", "--config", self.render("base.toml")]

    def reload(self):
        self.render("base.toml")
        self.signal("HUP")

    def version(self):
        return self.output(self.binary, "--version")
