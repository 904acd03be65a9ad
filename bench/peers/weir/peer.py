import os

from harness import HERE, Peer


class Weir(Peer):
    name = "weir"
    modes = ("base", "lua")
    gen2 = 'response_headers = { set = { x-gen = "{gen}" } }'
    # `cargo xtask bench` builds it; WEIR_BIN measures another build.
    binary = os.environ.get("WEIR_BIN", os.path.join(HERE, "../target/release/weir"))

    def vars(self):
        if self.mode == "base":
            return {"plugins": "", "scripts": "", "upstream_b": ""}
        return {
            "plugins": 'plugins = ["route"]',
            "scripts": f'[plugins.route]\npath = "{self.dir}/route.lua"',
            "upstream_b": f'''[upstreams.b]
endpoints = ["{self.up_b}"]
pool = {{ max_idle = 8192, idle_timeout = "10m" }}
timeouts = {{ connect = "5s", response = "10m", idle = "10m" }}''',
        }

    def argv(self):
        return [self.binary, "run", "--config", self.render("base.toml")]

    def reload(self):
        self.render("base.toml")
        self.signal("HUP")

    def version(self):
        return self.output(self.binary, "--version")
