return {
  on_load = function(config)
    error("no address is configured")
  end,
}
