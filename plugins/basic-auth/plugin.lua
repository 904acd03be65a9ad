-- Asks for a name and a password (RFC 7617).
local users, challenge, header, forward, remember, decoy

-- The longest password that is verified, in bytes.
local LONGEST = 1024

local function add(into, name, hash, where)
  if name == "" or string.find(name, ":", 1, true) then
    error(`{where}: "{name}" cannot be a user: a name has no colon`, 0)
  end
  if not (string.find(hash, "^%$argon2") or string.find(hash, "^%$2[aby]%$")) then
    error(`{where}: the hash of "{name}" is neither Argon2 nor bcrypt: "htpasswd -B" makes one`, 0)
  end
  into[name] = hash
end

-- Lines of name:hash, as in the files of htpasswd.
local function read(text, into)
  for number, line in string.split(text, "\n") do
    line = string.match(line, "^%s*(.-)%s*$")
    if line ~= "" and string.sub(line, 1, 1) ~= "#" then
      local name, hash = string.match(line, "^([^:]*):(.*)$")
      if not name then
        error(`line {number} of the secret: there is no colon after the name`, 0)
      end
      add(into, name, hash, `line {number} of the secret`)
    end
  end
end

local function credentials(req)
  local fields = req.headers:get_all("authorization")
  if #fields ~= 1 then
    return nil
  end
  local encoded = string.match(fields[1], "^[Bb][Aa][Ss][Ii][Cc] +([%w+/=]+) *$")
  if not encoded or #encoded > 2048 then
    return nil
  end
  local ok, text = pcall(weir.codec.base64_decode, encoded)
  if not ok or not utf8.len(text) or string.find(text, "%c") then
    return nil
  end
  local name, password = string.match(text, "^([^:]*):(.*)$")
  if name and #password <= LONGEST then
    return name, password
  end
end

-- What is remembered of credentials that were right: nothing from which they could be had.
local function mark(name, hash, password)
  local key = weir.kv.get("key")
  if not key then
    -- Other workers may make one at this moment.
    weir.kv.add("key", weir.crypto.random(32))
    key = weir.kv.get("key")
  end
  return key and "ok:" .. weir.crypto.hmac("sha256", key, `{#name}:{name}{#hash}:{hash}{password}`)
end

local function is_right(name, password)
  local hash = users[name]
  local marked = hash and remember > 0 and mark(name, hash, password)
  if marked and weir.kv.get(marked) then
    return true
  end
  -- For a name that is not known just as long, so that the time does not tell.
  local right = weir.password.verify(hash or decoy, password)
  if not hash or not right then
    return false
  end
  if marked then
    weir.kv.set(marked, "1", remember)
  end
  return true
end

return {
  config = {
    users = { type = "table", default = {} },
    users_secret = { type = "string" },
    realm = { type = "string", default = "restricted" },
    header = { type = "string", default = "x-user" },
    forward = { type = "boolean", default = false },
    remember = { type = "number", min = 0, max = 86400, default = 300 },
  },

  on_load = function(config)
    users = {}
    for name, hash in config.users do
      if type(hash) ~= "string" then
        error(`users: the hash of "{name}" is a text`, 0)
      end
      add(users, name, hash, "users")
    end
    if config.users_secret then
      read(weir.secrets.get(config.users_secret), users)
    end
    decoy = select(2, next(users))
    if not decoy then
      error("there is no user: set `users`, or `users_secret`", 0)
    end
    if string.find(config.realm, '[%c"\\]') then
      error("`realm` has no quotes, backslashes and control characters", 0)
    end
    challenge = `Basic realm="{config.realm}", charset="UTF-8"`
    header = config.header ~= "" and config.header or nil
    forward, remember = config.forward, config.remember
  end,

  on_request = function(req)
    if header then
      -- Nobody but this plugin says who somebody is.
      req.headers:remove(header)
    end
    local name, password = credentials(req)
    local ok, right = true, false
    if name then
      ok, right = pcall(is_right, name, password)
    end
    if not ok then
      weir.log.error(`a password could not be verified: {right}`)
      return weir.respond{ status = 503, body = "Try again later\n", headers = { ["content-type"] = "text/plain; charset=utf-8", ["retry-after"] = "5" } }
    end
    if not right then
      return weir.respond{
        status = 401,
        body = "Unauthorized\n",
        headers = { ["content-type"] = "text/plain; charset=utf-8", ["www-authenticate"] = challenge },
      }
    end
    if header then
      req.headers:set(header, name)
    end
    if not forward then
      req.headers:remove("authorization")
    end
  end,
}
