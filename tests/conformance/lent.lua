-- Loads the plugin with all that cases use. A component that imports what it was not granted does not load, and the
-- guests import all there is.
return function(t, on_failure)
  return function(settings)
    return t:plugin(settings, {
      on_failure = on_failure,
      grants = {
        upstreams = { "auth" },
        hosts = { "https://login.example.com" },
        kv = { "shared" },
        groups = { "room:*" },
        relays = { "chat" },
      },
      secrets = { token = "s3cret" },
    })
  end
end
