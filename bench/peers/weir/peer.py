import os

from harness import HERE, Peer


class Weir(Peer):
    name = "weir"
    # wslimits: frames are read because there are bounds; the ws_ ones after it: because of a plugin, whose file each names.
    modes = ("base", "lua", "many", "wsframe", "wslimits", "ws_on_frame", "ws_on_message", "ws_ctx")
    gen2 = 'response_headers = { set = { x-gen = "{gen}" } }'
    # `cargo xtask bench` builds it; WEIR_BIN measures another build.
    binary = os.environ.get("WEIR_BIN", os.path.join(HERE, "../target/release/weir"))

    def vars(self):
        if self.mode == "base":
            return {"plugins": "", "scripts": "", "upstream_b": ""}
        if self.mode == "many":
            return {"plugins": "", "scripts": self.many(), "upstream_b": ""}
        if self.mode == "wslimits":
            return {"plugins": 'websocket = { max_message = "1MiB" }', "scripts": "", "upstream_b": ""}
        if self.mode.startswith("ws"):
            script = "redact" if self.mode == "wsframe" else self.mode.removeprefix("ws_")
            return {"plugins": f'plugins = ["{script}"]', "scripts": f'[plugins.{script}]\npath = "{self.dir}/{script}.lua"', "upstream_b": ""}
        return {
            "plugins": 'plugins = ["route"]',
            "scripts": f'[plugins.route]\npath = "{self.dir}/route.lua"',
            "upstream_b": f'''[upstreams.b]
endpoints = ["{self.up_b}"]
pool = {{ max_idle = 8192, idle_timeout = "10m" }}
timeouts = {{ connect = "5s", response = "10m", idle = "10m" }}''',
        }

    def many(self):
        """1,000 routes and 50 scripts, each another than in the generation before."""
        self.scripts(50)
        routes = "".join(f'''
[[routes]]
name = "r{i}"
path_prefix = "/r{i}"
upstream = "a"
plugins = ["p{i % 50}"]
response_headers = {{ set = {{ x-gen = "{self.generation}" }} }}
''' for i in range(1000))
        return routes + "".join(f'\n[plugins.p{i}]\npath = "{self.run}/{i}.lua"\n' for i in range(50))

    def argv(self):
        return [self.binary, "run", "--config", self.render("base.toml")]

    def reload(self):
        self.render("base.toml")
        self.signal("HUP")

    def version(self):
        return self.output(self.binary, "--version")
