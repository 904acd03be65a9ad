return {
  config = {
    limit = { type = "integer", min = 1, max = 100 },
    mode = { type = "string", one_of = { "slow", "steady" } },
    names = { type = "list", items = "string" },
    token = { type = "string", required = true },
  },
}
