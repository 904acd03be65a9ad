-- on_connect, and what is known of a connection.
local load = require("./lent")

return {
  ["a connection is accepted where nothing is said"] = function(t)
    local plugin = load(t) {
      hooks = { connect = {
        { call = "connection.listener", save = "listener" },
        { call = "connection.peer-ip", save = "peer" },
        { call = "connection.sni", save = "sni" },
        { call = "log.info", args = { "${listener} ${peer} ${sni}" } },
      } },
    }
    local x = plugin:connect { listener = "web", client_ip = "192.0.2.7", tls = { sni = "a.test" } }
    t:equal(x.accepted, true)
    t:equal(x.log, { { level = "info", message = "web 192.0.2.7 a.test" } })
  end,
  ["it is refused"] = function(t)
    local x = load(t)({ hooks = { connect = { { say = "refuse" } } } }):connect {}
    t:equal(x.accepted, false)
    t:equal(x.failure, nil)
  end,
  ["it fails with a text"] = function(t)
    local settings = { hooks = { connect = { { say = { fail = "no list of offices" } } } } }
    local x = load(t)(settings):connect {}
    t:equal(x.accepted, false)
    t:match(x.failure, "no list of offices")
    t:equal(load(t, "open")(settings):connect({}).accepted, true)
  end,
  ["requests know all of it"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.connection.id", save = "id" },
        { call = "request.connection.listener", save = "listener" },
        { call = "request.connection.peer", save = "peer" },
        { call = "request.connection.peer-ip", save = "ip" },
        { call = "request.connection.local-address", save = "here" },
        { call = "request.connection.tls-version", save = "version" },
        { call = "request.connection.tls-cipher", save = "cipher" },
        { call = "request.connection.sni", save = "sni" },
        { call = "request.connection.alpn", save = "alpn" },
        { call = "request.connection.client-subject", save = "subject" },
        { call = "request.connection.client-fingerprint", save = "fingerprint" },
        { say = { respond = { body = "${version} ${cipher} ${sni} ${alpn} ${subject} ${fingerprint} ${ip} ${id} ${listener} ${peer} ${here}" } } },
      } },
    }
    local tls = {
      version = "TLSv1.3", cipher = "TLS13_AES_128_GCM_SHA256", sni = "a.test", alpn = "h2", client_subject = "CN=me",
      client_fingerprint = "00ff",
    }
    local x = plugin:exchange { client_ip = "192.0.2.7", tls = tls }
    t:match(x.response.body, "^TLSv1.3 TLS13_AES_128_GCM_SHA256 a.test h2 CN=me 00ff 192.0.2.7 %d+ test 192.0.2.7:%d+ [%d.:]+$")
    local plain = plugin:exchange { client_ip = false }
    t:match(plain.response.body, "^null null null null null null null %d+ test unix: ")
  end,
}
