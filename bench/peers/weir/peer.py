import os

from harness import HERE, TOOLS, Peer


class Weir(Peer):
    name = "weir"
    # wslimits: frames are read because there are bounds; the ws_ ones after it: because of a plugin, whose file each names.
    # component, wasm, wasm_nothing, ws_component: a component made of guest/, with the work of each; wasm_life: one that is replaced.
    modes = ("base", "lua", "component", "wasm", "wasm_nothing", "wasm_life", "many", "wsframe", "wslimits", "ws_on_frame", "ws_on_message",
             "ws_component", "ws_ctx", "ws_schema")
    works = {"component": "route", "wasm": "fields", "wasm_nothing": "nothing", "ws_component": "frames"}
    copies = 1  # in the mode wasm_life: plugins of the one component
    gen2 = 'response_headers = { set = { x-gen = "{gen}" } }'
    # `cargo xtask bench` builds it; WEIR_BIN measures another build.
    binary = os.environ.get("WEIR_BIN", os.path.join(HERE, "../target/release/weir"))
    # `cargo xtask guests` makes it.
    component = os.path.join(HERE, "../target/guests/bench.wasm")

    def vars(self):
        upstream_b = f'''[upstreams.b]
endpoints = ["{self.up_b}"]
pool = {{ max_idle = 8192, idle_timeout = "10m" }}
timeouts = {{ connect = "5s", response = "10m", idle = "10m" }}'''
        if self.mode == "base":
            return {"plugins": "", "scripts": "", "upstream_b": ""}
        if work := self.works.get(self.mode):
            plugin = f'[plugins.bench]\npath = "{self.component}"\nsettings = {{ work = "{work}" }}'
            return {"plugins": 'plugins = ["bench"]', "scripts": plugin, "upstream_b": upstream_b}
        if self.mode == "ws_schema":
            # A component that keeps something of each WebSocket.
            path = os.path.join(os.path.dirname(self.component), "ws_schema.wasm")
            return {"plugins": 'plugins = ["schema"]', "upstream_b": "",
                    "scripts": f'[plugins.schema]\npath = "{path}"\nsettings = {{ client = {{ schema = {{}}, binary = "pass", not_json = "pass" }} }}'}
        if self.mode == "wasm_life":
            names = [f"life{i}" for i in range(self.copies)]
            plugins = "".join(f'[plugins.{n}]\npath = "{self.run}/life.wasm"\nsettings = {{ work = "trap" }}\n' for n in names)
            return {"plugins": f"plugins = {names}", "scripts": plugins, "upstream_b": ""}
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
            "upstream_b": upstream_b,
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

    def component_of(self, generation):
        """Has the plugin of the mode wasm_life be other bytes, which do the same."""
        with open(self.component, "rb") as f:
            # A custom section.
            component = f.read() + bytes((0, 6, 4)) + b"life" + bytes((generation,))
        with open(os.path.join(self.run, "life.wasm.new"), "wb") as f:
            f.write(component)
        os.replace(f.name, os.path.join(self.run, "life.wasm"))

    def env(self):
        # In the mode wasm_life what is compiled is not found from before. In others it is, from the second round on: memory that
        # compiling has left would be taken for what is measured.
        return {"XDG_CACHE_HOME": self.run if self.mode == "wasm_life" else os.path.join(TOOLS, "cache")}

    def argv(self):
        if self.mode == "wasm_life":
            self.component_of(0)
        return [self.binary, "run", "--config", self.render("base.toml")]

    def reload(self):
        self.render("base.toml")
        self.signal("HUP")

    def version(self):
        return self.output(self.binary, "--version")
