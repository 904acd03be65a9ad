return {
  on_request = function(req)
    if req.path == "/" then
      return weir.respond{ status = 404 }
  end,
}
