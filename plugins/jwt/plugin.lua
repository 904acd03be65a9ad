-- Lets requests in that carry a JSON Web Token (RFC 7519, RFC 6750).
local settings, options, keys, sources, challenge

-- The largest set of keys, and how long asking for it may take.
local LARGEST, TIMEOUT = 65536, 5
-- Seconds between two tries to find a key that the set did not have, and between two that failed.
local PATIENCE = 30

local function ask(url)
  local response, why = weir.http.request{ url = url, timeout = TIMEOUT }
  if not response then
    return nil, why
  end
  if response.status ~= 200 then
    return nil, `it answered with {response.status}`
  end
  local text, wrong = response:read(LARGEST)
  if text then
    -- What is no set of keys never takes the place of one that is.
    weir.jwt.verify("", text, options)
  end
  return text, wrong
end

-- The set of keys at the URL. All workers share it; while one asks, or when the server does not answer, the last one is
-- good.
local function fetched(anew)
  local url = settings.jwks_url
  local fresh, last = weir.kv.get("fresh " .. url), weir.kv.get("last " .. url)
  if fresh and last and not anew then
    return last
  end
  if weir.kv.get("failed " .. url) or (last and not weir.kv.add("asked " .. url, "1", PATIENCE)) then
    return last
  end
  local ok, text, why = pcall(ask, url)
  if not ok or not text then
    weir.log.error(`the keys at {url} cannot be had: {if ok then why else text}`)
    weir.kv.set("failed " .. url, "1", PATIENCE)
    return last
  end
  weir.kv.set("last " .. url, text)
  weir.kv.set("fresh " .. url, "1", settings.jwks_refresh)
  return text
end

local function verify(token)
  if not settings.jwks_url then
    return weir.jwt.verify(token, keys, options)
  end
  local set = fetched(false)
  if not set then
    error("there are no keys to verify tokens with", 0)
  end
  local claims, why = weir.jwt.verify(token, set, options)
  if not claims and string.find(why, "there is no key", 1, true) then
    -- The keys may have been rotated.
    local newer = fetched(true)
    if newer and newer ~= set then
      claims, why = weir.jwt.verify(token, newer, options)
    end
  end
  return claims, why
end

local function bearer(req)
  local fields = req.headers:get_all("authorization")
  return #fields == 1 and string.match(fields[1], "^[Bb][Ee][Aa][Rr][Ee][Rr] +([%w%-._~+/]+=*) *$") or nil
end

local function find(req)
  for _, source in sources do
    local token
    if source.from == "header" then
      token = bearer(req)
    elseif source.from == "cookie" then
      token = req.cookies:get(source.name)
    else
      token = req.query:get(source.name)
    end
    if token and token ~= "" then
      return token, source
    end
  end
end

local function text(value)
  if type(value) == "table" then
    for _, item in value do
      if type(item) == "table" then
        return weir.json.encode(value)
      end
    end
    return if #value > 0 then table.concat(value, ",") else weir.json.encode(value)
  end
  return tostring(value)
end

local function refuse(more)
  return weir.respond{
    status = 401,
    body = "Unauthorized\n",
    headers = { ["content-type"] = "text/plain; charset=utf-8", ["www-authenticate"] = challenge .. more },
  }
end

return {
  config = {
    algorithms = { type = "list", items = "string", min = 1, required = true },
    jwks = { type = "string" },
    jwks_secret = { type = "string" },
    jwks_url = { type = "string" },
    jwks_refresh = { type = "number", min = 1, max = 86400, default = 300 },
    pem = { type = "string" },
    pem_secret = { type = "string" },
    hmac_secret = { type = "string" },
    issuers = { type = "list", items = "string", default = {} },
    audiences = { type = "list", items = "string", default = {} },
    leeway = { type = "integer", min = 0, max = 600, default = 30 },
    required = { type = "list", items = "string", default = { "exp" } },
    sources = { type = "list", items = "string", default = { "header" } },
    claims = { type = "table", default = {} },
    optional = { type = "boolean", default = false },
    forward = { type = "boolean", default = true },
    realm = { type = "string", default = "restricted" },
  },

  on_load = function(config)
    settings = config
    options = {
      algorithms = config.algorithms,
      issuers = config.issuers,
      audiences = config.audiences,
      leeway = config.leeway,
      required = config.required,
    }
    local given = {}
    for name, read in {
      jwks = function(value) return { jwks = value } end,
      jwks_secret = function(value) return { jwks = weir.secrets.get(value) } end,
      jwks_url = function() return false end,
      pem = function(value) return { pem = value } end,
      pem_secret = function(value) return { pem = weir.secrets.get(value) } end,
      hmac_secret = function(value) return { secret = weir.secrets.get(value) } end,
    } do
      if config[name] then
        table.insert(given, name)
        keys = read(config[name])
      end
    end
    if #given ~= 1 then
      error("one of `jwks`, `jwks_secret`, `jwks_url`, `pem`, `pem_secret` and `hmac_secret` says where the keys are", 0)
    end
    if config.jwks_url and not weir.http then
      error("`jwks_url` needs `weir.http`, which this weir does not have", 0)
    end
    -- What is wrong with the keys or the options is told now.
    weir.jwt.verify("", keys or '{"keys":[]}', options)
    sources = {}
    for _, source in config.sources do
      local from, name = string.match(source, "^(%a+):(.+)$")
      if source ~= "header" and from ~= "cookie" and from ~= "query" then
        error(`sources: "{source}" is not known: there are "header", "cookie:NAME" and "query:NAME"`, 0)
      end
      table.insert(sources, { from = from or source, name = name })
    end
    for header, claim in config.claims do
      if type(claim) ~= "string" then
        error(`claims: what "{header}" tells is the name of a claim`, 0)
      end
    end
    if string.find(config.realm, '[%c"\\]') then
      error("`realm` has no quotes, backslashes and control characters", 0)
    end
    challenge = `Bearer realm="{config.realm}"`
  end,

  on_request = function(req)
    for header in settings.claims do
      -- Nobody but this plugin says what a token claims.
      req.headers:remove(header)
    end
    local token, source = find(req)
    if not token then
      if settings.optional then
        return
      end
      return refuse("")
    end
    local claims, why = verify(token)
    if not claims then
      weir.log.debug(`a token was refused: {why}`)
      local told = string.gsub(why, '["\\]', "'")
      return refuse(`, error="invalid_token", error_description="{told}"`)
    end
    for header, claim in settings.claims do
      local value = claims[claim]
      if value ~= nil and value ~= weir.json.null then
        -- One that cannot be a header's value is an error: the request does not go on without it.
        req.headers:set(header, text(value))
      end
    end
    if not settings.forward then
      if source.from == "header" then
        req.headers:remove("authorization")
      elseif source.from == "query" then
        req.query:remove(source.name)
      end
    end
  end,
}
