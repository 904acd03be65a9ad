local function pick(req)
  return if req.headers:get("x-tenant") == "beta" and string.sub(req.path, 1, 5) == "/api/" then "b" else "a"
end

return {
  on_request = function(req)
    local headers = req.headers
    local to = pick(req)
    req.upstream = to
    headers:set("x-tenant-id", "t-" .. (headers:get("x-tenant") or "none"))
    headers:set("x-route", to)
    headers:set("x-gateway", "bench")
    headers:remove("x-debug")
  end,

  on_response = function(res, req)
    res.headers:set("x-served-by", "bench-" .. req.upstream)
  end,
}
