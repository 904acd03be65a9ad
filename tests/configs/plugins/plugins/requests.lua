return {
  on_request = function(req) end,
}
