-- Bounds how many requests a client makes, evenly over time: the generic cell rate algorithm, whose only state is the
-- time at which a client has all of its burst back.
local limit: number, window: number, burst: number
local by, header, status

local function client(req)
  if by == "header" then
    return req.headers:get(header)
  end
  return req.client_ip
end

return {
  config = {
    limit = { type = "integer", min = 1, required = true },
    window = { type = "number", min = 0.001, default = 60 },
    burst = { type = "integer", min = 1 },
    by = { type = "string", one_of = { "client", "header" }, default = "client" },
    header = { type = "string" },
    status = { type = "integer", min = 400, max = 599, default = 429 },
  },

  on_load = function(config)
    limit, window, burst = config.limit, config.window, config.burst or config.limit
    by, header, status = config.by, config.header, config.status
    if by == "header" and not header then
      error('`by = "header"` needs `header`, the name of the header', 0)
    end
  end,

  on_request = function(req, ctx)
    -- Who cannot be told apart shares one limit.
    local key = client(req) or ""
    if #key > 256 then
      key = weir.crypto.hash("sha256", key)
    end
    local interval = window / limit
    -- Other workers may count the same client at this moment: then what was read is no longer there.
    for _ = 1, 20 do
      local now = weir.time.monotonic()
      local before = weir.kv.get(key)
      local all_back = math.max(tonumber(before or "") or 0, now) + interval
      local wait = all_back - now - interval * burst
      if wait > 1e-9 then
        local seconds = math.ceil(wait)
        return weir.respond{
          status = status,
          body = "Too many requests\n",
          headers = {
            ["content-type"] = "text/plain; charset=utf-8",
            ["retry-after"] = tostring(seconds),
            ["ratelimit-policy"] = `"default";q={limit};w={math.ceil(window)}`,
            ratelimit = `"default";r=0;t={seconds}`,
          },
        }
      end
      if weir.kv.cas(key, before, string.format("%.6f", all_back), all_back - now + 1) then
        ctx.remaining = math.floor((interval * burst - (all_back - now)) / interval + 1e-6)
        ctx.reset = math.ceil(all_back - now)
        return
      end
    end
    error("twenty others changed the count of this client meanwhile")
  end,

  on_response = function(res, req, ctx)
    if ctx.remaining then
      res.headers:set("ratelimit-policy", `"default";q={limit};w={math.ceil(window)}`)
      res.headers:set("ratelimit", `"default";r={ctx.remaining};t={ctx.reset}`)
    end
  end,
}
