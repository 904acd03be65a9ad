return {
  on_request = function(req)
    if req.path == "/loop" then
      while true do end
    end
  end,
}
