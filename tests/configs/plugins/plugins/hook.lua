return {
  on_reqest = function(req) end,
}
